import { expect } from 'chai';
import fc from 'fast-check';
import { writeAll } from '#src/kernel/concurrency/write-all.ts';

describe('writing many at once', () => {
  it('writes all but those that cannot be written, whichever and however many they are', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.boolean(), { maxLength: 60 }), async (good) => {
        const written: number[] = [];
        const failed: number[] = [];
        await writeAll(
          good.map((_, index) => index),
          async (some) => {
            if (some.some((index) => good[index] === false)) throw new Error('poison');
            written.push(...some);
          },
          () => false,
          (some) => failed.push(...some),
        );
        expect(written).to.deep.equal(good.flatMap((isGood, index) => (isGood ? [index] : [])));
        expect(failed).to.deep.equal(good.flatMap((isGood, index) => (isGood ? [] : [index])));
      }),
    );
  });
  it('takes one statement when all is well, and tries no further when nothing can be written', async () => {
    let statements = 0;
    const items = Array.from({ length: 50 }, (_, index) => index);
    await writeAll(
      items,
      async () => void (statements += 1),
      () => false,
      () => expect.fail('nothing failed'),
    );
    expect(statements).to.equal(1);
    const failed: number[] = [];
    const away = async (): Promise<void> => {
      statements += 1;
      throw new Error('the database is away');
    };
    await writeAll(
      items,
      away,
      () => true,
      (some) => failed.push(...some),
    );
    expect([statements, failed.length]).to.deep.equal([2, 50]);
  });
});
