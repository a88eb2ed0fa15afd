import { expect } from 'chai';
import fc from 'fast-check';
import { packChain, packEntries, unpackChain, unpackEntries } from '#src/protocol/wire/packed-state.ts';

const position = fc.oneof(
  fc.integer({ min: 1, max: 2 ** 20 }).map((sequence) => sequence * 16 + 5),
  fc.integer({ min: -(2 ** 20), max: -1 }).map((sequence) => sequence * 16 + 5),
  fc.maxSafeInteger().filter((n) => Math.abs(n) < 2 ** 52 && n !== 0),
);
const entries = fc
  .uniqueArray(fc.tuple(fc.nat({ max: 2 ** 31 - 1 }), fc.oneof(position, fc.constant(0))), {
    selector: ([key]) => key,
    maxLength: 200,
  })
  .map((pairs) => {
    const sorted = pairs.toSorted(([a], [b]) => a - b);
    return {
      keys: Int32Array.from(sorted, ([key]) => key),
      events: Float64Array.from(sorted, ([, event]) => event),
    };
  });
const thrown = (work: () => unknown): string => {
  try {
    work();
  } catch (error) {
    return (error as Error).message;
  }
  return '';
};

describe('packed rows of state', () => {
  it('hold entries as they were, whatever the positions, those of backfilled events included', () => {
    fc.assert(
      fc.property(position, entries, (nid, given) => {
        const again = unpackEntries(nid, packEntries(nid, given));
        expect([...again.keys]).to.deep.equal([...given.keys]);
        expect([...again.events]).to.deep.equal([...given.events]);
      }),
    );
  });

  it('hold chains as they were', () => {
    fc.assert(
      fc.property(position, fc.array(position, { maxLength: 8 }), (nid, chain) => {
        const packed = packChain(nid, chain);
        expect(unpackChain(nid, packed)).to.deep.equal(chain);
        if (chain.every((id) => id <= nid && nid - id < 2 ** 24)) {
          expect(packed.length).to.be.at.most(chain.length === 0 ? 0 : 1 + 3 * chain.length);
        }
      }),
    );
  });

  it('take about five bytes for a change in a room of thousands of members', () => {
    const count = 1000;
    const nid = 16 * 100_000 + 3;
    const packed = packEntries(nid, {
      keys: Int32Array.from({ length: count }, (_, i) => 10_000 + 5 * i),
      events: Float64Array.from({ length: count }, (_, i) => nid - 16 * 17 * ((i * 7919) % count)),
    });
    expect(packed.length / count).to.be.below(4);
  });

  it('refuse any other bytes, and read no rest of them', () => {
    fc.assert(
      fc.property(position, fc.uint8Array({ maxLength: 40 }), (nid, bytes) => {
        try {
          const found = unpackEntries(nid, bytes);
          // What is taken is what packing makes: there is one way to write everything.
          expect([...packEntries(nid, found)]).to.deep.equal([...bytes]);
        } catch (error) {
          expect((error as Error).name).to.equal('PackedStateError');
        }
        try {
          expect(unpackChain(nid, packChain(nid, unpackChain(nid, bytes)))).to.deep.equal(unpackChain(nid, bytes));
        } catch (error) {
          expect((error as Error).name).to.equal('PackedStateError');
        }
      }),
      { numRuns: 2000 },
    );
    expect(thrown(() => unpackEntries(16, Uint8Array.of(1, 128)))).to.contain('damaged');
    expect(thrown(() => unpackEntries(16, Uint8Array.of(1, 2, 0, 2)))).to.contain('ascend');
    expect(thrown(() => unpackEntries(16, new Uint8Array(20).fill(255)))).to.contain('too long');
    expect(thrown(() => unpackChain(16, Uint8Array.of(7, 1, 2, 3)))).to.contain('damaged');
  });

  it('are made of nothing but ascending keys and positions', () => {
    const wrong = (keys: number[], events: number[]): string =>
      thrown(() => packEntries(1, { keys: Int32Array.from(keys), events: Float64Array.from(events) }));
    expect(wrong([2, 1], [1, 1])).to.contain('ascend');
    expect(wrong([1, 1], [1, 1])).to.contain('ascend');
    expect(wrong([1], [0.5])).to.contain('position');
    expect(wrong([1], [2 ** 53])).to.contain('position');
  });
});
