import { expect } from 'chai';
import { OnceByKey } from '#src/kernel/once.ts';

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
});
