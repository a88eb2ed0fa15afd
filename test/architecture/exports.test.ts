import { dirname, join } from 'node:path';
import { glob, readFile } from 'node:fs/promises';
import { expect } from 'chai';

/** Names that a file gets from another one: `file.ts#name`, or `file.ts#*` for all. */
const importsOf = (path: string, text: string): string[] => {
  const fileOf = (source: string): string | undefined => {
    if (source.startsWith('#')) return source.slice(1);
    return source.startsWith('.') ? join(dirname(path), source) : undefined;
  };
  const named = [...text.matchAll(/(?:import|export)\s+(?:type\s+)?(?:\w+\s*,\s*)?\{([^}]*)\}\s*from\s*'([^']+)'/g)];
  const whole = [...text.matchAll(/(?:import\(\s*|\* as \w+ from )'([^']+)'/g)];
  return [
    ...named.flatMap(([, names = '', source = '']) =>
      names.split(',').map((name) => `${fileOf(source)}#${/^\s*(?:type\s+)?(\w*)/.exec(name)?.[1]}`),
    ),
    ...whole.map(([, source = '']) => `${fileOf(source)}#*`),
  ];
};

const withoutComments = (text: string): string => text.replaceAll(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '');

interface Exported {
  readonly path: string;
  readonly name: string;
  /** How often its own file uses it. */
  readonly uses: number;
}

describe('what a file of src exports', () => {
  const exported: Exported[] = [];
  const byProduct = new Set<string>();
  const byTests = new Set<string>();

  before(async () => {
    for await (const path of glob('{src,test,bench}/**/*.ts')) {
      const text = await readFile(path, 'utf8');
      const isProduct = path.startsWith('src/');
      for (const name of importsOf(path, text)) (isProduct ? byProduct : byTests).add(name);
      if (!isProduct) continue;
      const code = withoutComments(text);
      const uses = new Map<string, number>();
      for (const [word] of code.matchAll(/\w+/g)) uses.set(word, (uses.get(word) ?? 0) + 1);
      for (const [, name = ''] of code.matchAll(
        /^export (?:abstract )?(?:async )?(?:const|let|function\*?|class) (\w+)/gm,
      ))
        exported.push({ path, name, uses: (uses.get(name) ?? 0) - 1 });
    }
  });

  const isIn = (names: ReadonlySet<string>, { name, path }: Exported): boolean =>
    names.has(`${path}#${name}`) || names.has(`${path}#*`);
  const shown = ({ name, path }: Exported): string => `${name} of ${path}`;

  it('is used by the server itself, never by tests alone', () => {
    expect(exported.length).to.be.greaterThan(1_000);
    expect(byTests.size).to.be.greaterThan(500);
    expect(exported.filter((one) => one.uses === 0 && !isIn(byProduct, one)).map(shown)).to.deep.equal([]);
  });

  it('is used by another file', () => {
    expect(exported.filter((one) => !isIn(byProduct, one) && !isIn(byTests, one)).map(shown)).to.deep.equal([]);
  });
});
