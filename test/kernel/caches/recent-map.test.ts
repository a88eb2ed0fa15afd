import { expect } from 'chai';
import fc from 'fast-check';
import { RecentMap } from '#src/kernel/caches/recent-map.ts';

describe('a map of what came of late', () => {
  it('never exceeds its bound, returns no wrong value, and keeps at least the newest half of the bound', () => {
    const step = fc.record({ key: fc.nat(40), does: fc.constantFrom('set', 'set', 'get', 'delete') });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), fc.integer({ min: 2, max: 30 }), (steps, most) => {
        const map = new RecentMap<number, { readonly at: number }>('test', most);
        const truth = new Map<number, { readonly at: number }>();
        // In order of their last use.
        const used = new Set<number>();
        for (const [at, { key, does }] of steps.entries()) {
          if (does === 'delete') {
            map.delete(key);
            truth.delete(key);
            used.delete(key);
            expect(map.get(key)).to.equal(undefined);
          } else if (does === 'set') {
            truth.set(key, { at });
            map.set(key, truth.get(key)!);
            used.delete(key);
            used.add(key);
          } else {
            const found = map.get(key);
            const recent = [...used].slice(-Math.floor(most / 2)).includes(key);
            if (recent || found !== undefined) expect(found).to.equal(truth.get(key));
            if (found !== undefined) {
              used.delete(key);
              used.add(key);
            }
          }
          expect(map.size).to.be.at.most(most).and.at.most(map.limit);
        }
      }),
      { numRuns: 500 },
    );
  });

  it('counts what it had and what it had not', () => {
    const map = new RecentMap<string, string>('test', 4);
    map.set('a', 'x');
    map.get('a');
    map.get('b');
    expect([map.hits, map.misses]).to.deep.equal([1, 1]);
  });
});
