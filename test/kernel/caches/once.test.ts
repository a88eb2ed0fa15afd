import { expect } from 'chai';
import { OnceByKey } from '#src/kernel/caches/once.ts';

describe('what runs once for each key', () => {
  it('gives everybody who asks meanwhile the same result, and runs anew for who asks later', async () => {
    const once = new OnceByKey<string, number>();
    let runs = 0;
    const work = async (): Promise<number> => {
      await Promise.resolve();
      return ++runs;
    };
    expect(await Promise.all([once.run('a', work), once.run('a', work), once.run('b', work)])).to.deep.equal([1, 1, 2]);
    expect(await once.run('a', work)).to.equal(3);
  });

  it('fails for everybody who asked meanwhile, and may succeed the next time', async () => {
    const once = new OnceByKey<string, string>();
    const fails = (): Promise<string> => Promise.reject(new Error('not now'));
    const outcomes = await Promise.allSettled([once.run('a', fails), once.run('a', fails)]);
    expect(outcomes.map(({ status }) => status)).to.deep.equal(['rejected', 'rejected']);
    expect(await once.run('a', () => Promise.resolve('now'))).to.equal('now');
  });

  it('runs several keys together, without those that run already, and waits for all of them', async () => {
    const once = new OnceByKey<string, void>();
    const runs: (readonly string[])[] = [];
    const work = async (keys: readonly string[]): Promise<void> => {
      runs.push(keys);
      await Promise.resolve();
      for (const key of keys) expect(once.has(key)).to.equal(true);
    };
    await Promise.all([once.runAll(['a', 'b', 'a'], work), once.runAll(['b', 'c'], work), once.runAll(['a'], work)]);
    expect(runs).to.deep.equal([['a', 'b'], ['c']]);
    expect(once.has('a')).to.equal(false);
    const failed = await Promise.allSettled([
      once.runAll(['a', 'b'], () => Promise.reject(new Error('not now'))),
      once.runAll(['b'], work),
    ]);
    expect(failed.map(({ status }) => status)).to.deep.equal(['rejected', 'rejected']);
    await once.runAll(['b'], work);
    expect(runs.at(-1)).to.deep.equal(['b']);
  });
});
