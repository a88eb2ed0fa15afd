import { expect } from 'chai';
import fc from 'fast-check';
import { RecentChanges } from '#src/kernel/caches/recent-changes.ts';

describe('recent changes', () => {
  it('are all that came after a version, or unknown where that is too long ago', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 8 }), fc.integer({ min: 0, max: 40 }), (most, count) => {
        const changes = new RecentChanges<number>(most);
        for (let change = 0; change < count; change++) changes.note(change);
        expect(changes.version).to.equal(count);
        for (let version = 0; version <= count; version++) {
          const since = changes.since(version);
          const all = Array.from({ length: count - version }, (_, index) => version + index);
          if (count - version <= most) expect(since).to.deep.equal(all);
          else expect(since ?? all).to.deep.equal(all);
        }
        if (count >= 2 * most) expect(changes.since(0)).to.equal(undefined);
      }),
    );
  });
});
