import { readdir, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';
import { expect } from 'chai';

const SOURCE = fileURLToPath(new URL('../../src/', import.meta.url));

describe('caches', () => {
  it('take memory for what they hold, not ahead for what they may hold: none is bounded by the option max', async () => {
    const made: string[] = [];
    const ahead: string[] = [];
    for (const file of await readdir(SOURCE, { recursive: true })) {
      if (!file.endsWith('.ts')) continue;
      const text = await readFile(join(SOURCE, file), 'utf8');
      for (const [, options = ''] of text.matchAll(/new (?:LRU|Counted)Cache(?:<[^(]*>)?\(([^;]*)\)/g)) {
        made.push(file);
        if (/[{,]\s*max\s*[,:}]/.test(options)) ahead.push(file);
      }
    }
    expect(made.length).to.be.greaterThan(10);
    expect(ahead).to.deep.equal([]);
  });
});
