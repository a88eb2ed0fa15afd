import { readFile } from 'node:fs/promises';
import { expect } from 'chai';

interface Lock {
  readonly packages: Readonly<
    Record<string, { readonly version?: string; readonly optionalDependencies?: Record<string, string> }>
  >;
}

describe('package-lock.json', () => {
  it('has an entry for every platform: npm ci refuses a lock that was written where a registry lacks some', async () => {
    const lock = JSON.parse(await readFile(new URL('../../package-lock.json', import.meta.url), 'utf8')) as Lock;
    const missing = Object.entries(lock.packages).flatMap(([path, { optionalDependencies = {} }]) =>
      Object.keys(optionalDependencies).filter(
        (name) =>
          lock.packages[`${path}/node_modules/${name}`] === undefined &&
          lock.packages[`node_modules/${name}`] === undefined,
      ),
    );
    expect(missing).to.deep.equal([]);
  });
});
