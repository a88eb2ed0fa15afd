import { expect } from 'chai';
import { JobElements } from '#src/services/commit/job-elements.ts';

describe('the elements of a job', () => {
  it('are all done but those that cannot be, for which the job fails', async () => {
    const done: number[] = [];
    const calls: number[] = [];
    const elements = new JobElements();
    const all = Array.from({ length: 100 }, (_, index) => index);
    await elements.all(all, async (some) => {
      calls.push(some.length);
      if (some.includes(37) || some.includes(80)) throw new Error('one of them is bad');
      done.push(...some);
    });
    expect(done).to.deep.equal(all.filter((one) => one !== 37 && one !== 80));
    expect(calls.length).to.be.below(40);
    await elements.all(['another'], async () => done.push(100));
    expect(done).to.include(100);
    expect(() => elements.end()).to.throw(AggregateError, '2 elements of the job could not be done, all others are.');
  });

  it('are not tried one by one where the database is away, and the job fails for that', async () => {
    const away = Object.assign(new Error('the database restarts'), { code: '57P01' });
    let calls = 0;
    const elements = new JobElements();
    const failure = await elements
      .all([1, 2, 3, 4], async () => {
        calls += 1;
        throw away;
      })
      .catch((error: unknown) => error);
    expect([failure, calls]).to.deep.equal([away, 1]);
  });

  it('make no failure where all were done', async () => {
    const elements = new JobElements();
    await elements.all([], () => Promise.reject(new Error('there is nothing to do')));
    await elements.all([1, 2], async () => undefined);
    elements.end();
  });
});
