import { expect } from 'chai';
import { StateWanted } from '#src/services/sync/sliding/required-state.ts';
import { collectGarbage } from '#test/support/room-eviction.ts';

describe('what is wanted of the state of rooms', function () {
  this.timeout(60_000);

  it('weighs at least what it takes in memory, however short the names are of which there are many', async () => {
    await collectGarbage();
    const before = process.memoryUsage().heapUsed;
    const wanted = Array.from({ length: 60 }, (_, list) =>
      StateWanted.of(
        [
          {
            include: Array.from({ length: 1_000 }, (_name, n): [string, string] => [`${list}.${n}`, '']),
            exclude: [],
            lazyMembers: false,
          },
        ],
        '@alice:test',
      ),
    );
    await collectGarbage();
    const grown = process.memoryUsage().heapUsed - before;
    const weight = wanted.reduce((sum, { size }) => sum + size, 0);
    expect(weight).to.be.within(0.8 * grown, 3 * grown);
  });
});
