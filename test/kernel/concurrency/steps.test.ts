import { expect } from 'chai';
import { isPromise, perform, type Steps } from '#src/kernel/concurrency/steps.ts';

function* adding(...terms: (number | Promise<number>)[]): Steps<number> {
  let sum = 0;
  for (const term of terms) sum += isPromise(term) ? ((yield term) as number) : term;
  return sum;
}

describe('steps of work', () => {
  it('are done in one go, without a promise, where nothing has to be waited for', () => {
    expect(perform(adding(1, 2))).to.equal(3);
  });

  it('continue with the awaited value', async () => {
    expect(await perform(adding(1, Promise.resolve(2), 3, Promise.resolve(4)))).to.equal(10);
  });

  it('fail with what was waited for, where they do not catch it', async () => {
    function* careful(): Steps<string> {
      try {
        yield Promise.reject(new Error('one'));
      } catch (error) {
        return (yield Promise.resolve((error as Error).message)) as string;
      }
      return 'nothing';
    }
    expect(await perform(careful())).to.equal('one');
    const failed = await Promise.resolve(perform(adding(Promise.reject(new Error('two'))))).catch(
      (error: unknown) => error,
    );
    expect(failed).to.be.an('error').with.property('message', 'two');
  });

  it('throw at once what goes wrong before anything is waited for', () => {
    // oxlint-disable-next-line require-yield
    const broken = function* (): Steps<number> {
      throw new Error('at once');
    };
    expect(() => perform(broken())).to.throw('at once');
  });
});
