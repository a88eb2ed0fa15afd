import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { generatedFiles } from '#src/app/generated.ts';

describe('generated files', () => {
  for (const [path, content] of generatedFiles()) {
    it(`${path} is fresh: npm run generate would change nothing`, async () => {
      const file = fileURLToPath(new URL(`../../${path}`, import.meta.url));
      expect(await readFile(file, 'utf8').catch(() => '')).to.equal(content);
    });
  }
});
