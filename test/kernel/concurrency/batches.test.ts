import { expect } from 'chai';
import fc from 'fast-check';
import { AnsweredBatches, Batches } from '#src/kernel/concurrency/batches.ts';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('batches', () => {
  it('take what one turn of the event loop brings, and while one is done the next one fills', async () => {
    const done: (readonly number[])[] = [];
    let end: (() => void) | undefined;
    const batches = new Batches<number>({
      name: 'test',
      most: 4,
      work: (batch) => {
        done.push(batch);
        return new Promise((resolve) => (end = resolve));
      },
    });
    batches.add(1);
    await Promise.resolve();
    batches.add(2);
    expect(done).to.deep.equal([]);
    await turn();
    expect(done).to.deep.equal([[1, 2]]);
    for (const n of [3, 4, 5, 6, 7]) batches.add(n);
    await turn();
    expect([done.length, batches.waiting]).to.deep.equal([1, 5]);
    end?.();
    await turn();
    expect(done[1]).to.deep.equal([3, 4, 5, 6]);
    end?.();
    await turn();
    end?.();
    await batches.idle();
    expect(done[2]).to.deep.equal([7]);
  });

  it('give an item that is to be alone a batch of its own, without changing the order', async () => {
    const done: (readonly number[])[] = [];
    const batches = new Batches<number>({
      name: 'test',
      most: 4,
      isAlone: (n) => n >= 100,
      work: async (batch) => void done.push(batch),
    });
    for (const n of [1, 2, 100, 101, 3, 4, 5, 6, 7, 102]) batches.add(n);
    await batches.idle();
    expect(done).to.deep.equal([[1, 2], [100], [101], [3, 4, 5, 6], [7], [102]]);
  });

  it('do everything once, in order, one batch at a time, however it comes', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 0, max: 3 })), { maxLength: 20 }),
        fc.integer({ min: 1, max: 5 }),
        async (bursts, most) => {
          const done: number[] = [];
          let running = 0;
          const batches = new Batches<number>({
            name: 'test',
            most,
            work: async (batch) => {
              expect((running += 1)).to.equal(1);
              expect(batch.length).to.be.within(1, most);
              await turn();
              done.push(...batch);
              running -= 1;
            },
          });
          let next = 0;
          for (const [count, turns] of bursts) {
            for (let i = 0; i < count; i++) batches.add(next++);
            for (let i = 0; i < turns; i++) await turn();
          }
          await batches.idle();
          expect(done).to.deep.equal(Array.from({ length: next }, (_, i) => i));
        },
      ),
      { numRuns: 30 },
    );
  });

  describe('of questions', () => {
    const asked: (readonly number[])[] = [];
    const answersOf = async (isHopeless: () => boolean): Promise<unknown[]> => {
      asked.length = 0;
      const batches = new AnsweredBatches<number, number>({
        name: 'test',
        most: 4,
        isHopeless,
        work: async (batch) => {
          asked.push(batch);
          if (batch.includes(3)) throw new Error('not three');
          return (n) => n * n;
        },
      });
      const answers = await Promise.allSettled([1, 2, 3, 4, 5].map((n) => batches.ask(n)));
      return answers.map((one) => (one.status === 'fulfilled' ? one.value : (one.reason as Error).message));
    };

    it('answer each, and fail only the one that cannot be answered', async () => {
      expect(await answersOf(() => false)).to.deep.equal([1, 4, 'not three', 16, 25]);
      expect(asked).to.deep.equal([[1, 2, 3, 4], [1, 2], [3, 4], [3], [4], [5]]);
    });

    it('fail all of a batch at once where each would fail alike', async () => {
      expect(await answersOf(() => true)).to.deep.equal(['not three', 'not three', 'not three', 'not three', 25]);
      expect(asked).to.deep.equal([[1, 2, 3, 4], [5]]);
    });
  });
});
