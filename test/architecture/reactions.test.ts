import { expect } from 'chai';
import { readFileSync } from 'node:fs';
import { glob } from 'node:fs/promises';

const sources = async (pattern: string): Promise<{ readonly path: string; readonly text: string }[]> => {
  const found = [];
  for await (const path of glob(pattern)) found.push({ path, text: readFileSync(path, 'utf8') });
  return found.toSorted((a, b) => a.path.localeCompare(b.path));
};

describe('who reacts to events and accounts', () => {
  it('is a service: what composes the server listens to no stream and to no signal of one', async () => {
    const files = await sources('src/app/**/*.ts');
    expect(files.length).to.be.greaterThan(20);
    const listening = files.flatMap(({ path, text }) =>
      text
        .split('\n')
        .flatMap((line) => (/(?<!\bprocess)\.(on|subscribe)\(/.test(line) ? [`${path}: ${line.trim()}`] : [])),
    );
    expect(listening).to.deep.equal([]);
  });

  it('listens in the turn: no listener of a stream waits or begins what goes on after it', async () => {
    const files = await sources('src/services/**/*.ts');
    const listeners = files.flatMap(({ path, text }) =>
      [...text.matchAll(/[sS]tream\.on\('\w+', (?<head>[^\n]*)/g)].map(({ groups }) => `${path}: ${groups?.['head']}`),
    );
    expect(listeners.length).to.be.greaterThan(15);
    expect(listeners.filter((one) => /\basync\b|\bvoid\b|\.then\(|\.catch\(/.test(one))).to.deep.equal([]);
  });

  it('waits for what it begins, or a comment above says what a kill makes of it', async () => {
    const begun = (await sources('src/services/**/*.ts')).flatMap(({ path, text }) => {
      const lines = text.split('\n');
      return lines.flatMap((line, index) =>
        /(?<!\): |=> |\| |<)\bvoid (?:this|[a-z]\w*)[.(#]|=> void this\.\w+\(\)/.test(line)
          ? { at: `${path}: ${line.trim()}`, isExplained: /^\s*\/\//.test(lines[index - 1] ?? '') }
          : [],
      );
    });
    expect(begun.length).to.be.greaterThan(3);
    expect(begun.filter(({ isExplained }) => !isExplained).map(({ at }) => at)).to.deep.equal([]);
  });
});
