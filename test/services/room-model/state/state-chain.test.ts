import { expect } from 'chai';
import fc from 'fast-check';
import { StateChain, type StateChange } from '#src/services/room-model/state/state-chain.ts';

const change = fc.record({
  skey: fc.nat(40),
  event: fc.oneof(
    { weight: 6, arbitrary: fc.integer({ min: 1, max: 2 ** 40 }) },
    { weight: 1, arbitrary: fc.constant(0) },
  ),
});
// A state key belongs to one family for ever.
const family = ({ skey, event }: { skey: number; event: number }): StateChange => ({
  skey,
  event,
  isMember: skey % 2 === 1,
});
const steps = fc.array(fc.array(change.map(family), { minLength: 1, maxLength: 3 }), { maxLength: 300 });

const sorted = (map: ReadonlyMap<number, number>): [number, number][] => [...map].sort((a, b) => a[0] - b[0]);

describe('states as chains of deltas', () => {
  it('equal a plain map, whatever changes led to them, and so does every state on the way', () => {
    fc.assert(
      fc.property(steps, (all) => {
        let chain = StateChain.EMPTY;
        const plain = new Map<number, number>();
        const earlier: { chain: StateChain; entries: [number, number][] }[] = [];
        for (const [index, changes] of all.entries()) {
          chain = chain.append(index + 1, changes);
          for (const { skey, event } of changes) {
            if (event === 0) plain.delete(skey);
            else plain.set(skey, event);
          }
          earlier.push({ chain, entries: sorted(plain) });
        }
        for (const { chain: state, entries } of earlier) {
          expect(sorted(new Map([...state.others(), ...state.members()]))).to.deep.equal(entries);
          expect([...state.others().keys].every((skey) => skey % 2 === 0)).to.equal(true);
        }
        for (let skey = 0; skey <= 40; skey++) expect(chain.get(skey)).to.equal(plain.get(skey));
      }),
      { numRuns: 60 },
    );
  });

  it('can be put together again from the rows that were written, at most 8 for each state', () => {
    const rows = new Map<number, { chain: number[]; delta: StateChain['deltas'][number] }>();
    let chain = StateChain.EMPTY;
    for (let nid = 1; nid <= 5000; nid++) {
      chain = chain.append(nid, [{ skey: nid % 7, event: nid, isMember: false }]);
      rows.set(nid, { chain: chain.deltas.slice(0, -1).map((delta) => delta.nid), delta: chain.deltas.at(-1)! });
      expect(chain.deltas.length).to.be.at.most(8);
    }
    for (const [nid, row] of rows) {
      const again = new StateChain([...row.chain.map((id) => rows.get(id)!.delta), row.delta]);
      expect(again.nid).to.equal(nid);
      for (let skey = 0; skey < 7; skey++) {
        const expected = nid - ((((nid - skey) % 7) + 7) % 7);
        expect(again.get(skey)).to.equal(expected <= 0 ? undefined : expected);
      }
    }
  });

  it('write one row for each change, with a bounded number of entries on average', () => {
    let chain = StateChain.EMPTY;
    let entries = 0;
    const changes = 32_768;
    for (let nid = 1; nid <= changes; nid++) {
      // The worst case: every change is of a key of its own.
      chain = chain.append(nid, [{ skey: nid, event: nid, isMember: true }]);
      const written = chain.deltas.at(-1)!;
      expect(written.nid).to.equal(nid);
      entries += written.members.size;
    }
    // Seven digits, of one and a half to seven and a half entries each.
    expect(entries / changes).to.be.at.most(20);
    expect(chain.deltas.length).to.be.at.most(8);
  });

  it('leave the states that they came from as they were', () => {
    const before = StateChain.EMPTY.append(1, [{ skey: 1, event: 10, isMember: false }]);
    const after = before.append(2, [{ skey: 1, event: 20, isMember: false }]);
    expect([before.get(1), after.get(1)]).to.deep.equal([10, 20]);
    expect([StateChain.EMPTY.nid, StateChain.EMPTY.get(1)]).to.deep.equal([0, undefined]);
  });
});
