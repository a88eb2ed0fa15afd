import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { expect } from 'chai';

const layering = createRequire(import.meta.url)('../../config/tools/layering.cjs') as {
  forbidden: readonly { readonly name: string; readonly to?: { readonly path?: string } }[];
};
const file = (path: string): URL => new URL(`../../${path}`, import.meta.url);
const foldersOf = (path: string): string[] =>
  readdirSync(file(path), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name);

describe('the drawing in docs/architecture.md', () => {
  const drawing = readFileSync(file('docs/architecture.md'), 'utf8').split('```')[1] ?? '';

  const rows = (): string[][] =>
    [...drawing.matchAll(/^ {14}((?:[a-z0-9-]+, )*[a-z0-9-]+) {2,}/gm)].map(([, names = '']) => names.split(', '));
  /** The pairs of areas of which one must not import the other, as the rules of layering have them. */
  const forbiddenImports = (): { from: string; to: string }[] =>
    layering.forbidden.flatMap(({ name, to }) => {
      const from = /^services-(.+)-imports-down$/.exec(name)?.[1];
      const areas = /^\^src\/services\/\((.+)\)\/$/.exec(to?.path ?? '')?.[1]?.split('|');
      return from === undefined ? [] : (areas ?? []).map((area) => ({ from, to: area }));
    });

  it('has every folder of src/, and none that is not there', () => {
    const drawn = [...drawing.matchAll(/([a-z-]+)\//g)].map(([, name]) => name);
    expect(new Set(drawn)).to.deep.equal(new Set(foldersOf('src')));
  });

  it('has every area of services, and none that is not there', () => {
    expect(rows().flat()).to.have.members(foldersOf('src/services'));
  });
  it('has the areas in the rows that the import law knows', () => {
    const allowed = ({ from, to }: { from: string; to: string }): boolean => rowOf(to) < rowOf(from);
    const rowOf = (area: string): number => rows().findIndex((row) => row.includes(area));
    for (const { from, to } of forbiddenImports())
      expect(allowed({ from, to }), `${from} imports ${to}`).to.equal(false);
    const pairs = rows().flat().length * (rows().flat().length - 1);
    const drawn = rows().reduce((sum, row, index) => sum + row.length * rows().slice(0, index).flat().length, 0);
    expect(forbiddenImports()).to.have.length(pairs - drawn);
  });
});

describe('a decision in docs/decisions', () => {
  const names = readdirSync(file('docs/decisions')).filter((name) => name !== 'README.md');
  it('has a heading that begins with its number, which no other has', () => {
    for (const name of names)
      expect(readFileSync(file(`docs/decisions/${name}`), 'utf8').split('\n', 1)[0], name).to.match(
        new RegExp(`^# ${name.slice(0, 4)}: \\S`),
      );
    expect(new Set(names.map((name) => name.slice(0, 4))).size).to.equal(names.length);
  });
});
