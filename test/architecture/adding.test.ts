import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';

const HOME = fileURLToPath(new URL('../../', import.meta.url));
const read = (path: string): Promise<string> => readFile(join(HOME, path), 'utf8');

/** What stands between backquotes in a cell. */
const quoted = (cell: string): string[] => [...cell.matchAll(/`([^`]+)`/g)].map(([, text = '']) => text);

/** A row of the table: what is added, and the example that shows how many files that takes. */
interface Row {
  readonly what: string;
  readonly files: number;
  readonly words: readonly string[];
  readonly where: readonly string[];
  readonly own: readonly string[];
  /** A phrase, and the tests in which it stands; or nothing. */
  readonly test: readonly string[];
}

const rowsOf = (doc: string): Row[] =>
  doc
    .slice(doc.indexOf('## The counts, by example'))
    .split('\n')
    .filter((line) => /^\| [A-Z].*\| \d+ \|/.test(line))
    .map((line) => {
      const [what = '', files = '', words = '', where = '', own = '', test = ''] = line
        .split('|')
        .slice(1)
        .map((cell) => cell.trim());
      return {
        what,
        files: Number(files),
        words: quoted(words),
        where: quoted(where),
        own: quoted(own),
        test: quoted(test),
      };
    });

describe('docs/adding.md', () => {
  let doc: string;
  let rows: Row[];
  const product = new Map<string, string>();

  before(async () => {
    doc = await read('docs/adding.md');
    rows = rowsOf(doc);
    for (const folder of ['src', 'migrations']) {
      const names = (await readdir(join(HOME, folder), { recursive: true })).filter((name) => name.endsWith('.ts'));
      for (const name of names) product.set(`${folder}/${name}`, await read(`${folder}/${name}`));
    }
  });

  it('counts the files that adding something takes as an example of it has them, no more and no fewer', async () => {
    expect(rows).to.have.length(7);
    for (const { what, files, words, where, own, test } of rows) {
      const found = [...product].filter(([, text]) => words.some((word) => text.includes(word))).map(([path]) => path);
      expect(found, what).to.have.members([...where, ...own]);
      for (const word of words)
        expect(
          [...product.values()].some((text) => text.includes(word)),
          `${word} stands somewhere`,
        ).to.equal(true);
      const [phrase, ...tests] = test;
      for (const path of tests) expect(await read(path), `${what}: ${path}`).to.include(phrase);
      expect(where.length + tests.length, what).to.equal(files);
    }
  });

  it('says the same counts where it says how', () => {
    for (const { what, files } of rows)
      expect(doc, what).to.match(new RegExp(`${what} \\((its own files and )?${files} (files|more)\\)`));
  });
});
