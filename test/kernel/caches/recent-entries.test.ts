import { expect } from 'chai';
import fc from 'fast-check';
import { RecentEntries } from '#src/kernel/caches/recent-entries.ts';

interface Entry {
  readonly text: string;
}

const sizeOf = (entries: readonly Entry[]): number =>
  entries.reduce((sum, entry) => sum + Buffer.byteLength(JSON.stringify(entry)), 0);

describe('the newest entries in memory', () => {
  it('are the newest ones of all that came, never take more bytes than they may, and are found page by page', () => {
    const entries = fc.array(fc.record({ text: fc.string({ maxLength: 60 }), takes: fc.boolean() }), {
      maxLength: 300,
    });
    fc.assert(
      fc.property(entries, fc.integer({ min: 20, max: 2_000 }), fc.integer({ min: 1, max: 7 }), (all, most, limit) => {
        const recent = new RecentEntries<Entry>(most);
        let came: Entry[] = [];
        for (const { takes, text } of all) {
          if (takes) {
            const among = came.slice(-5);
            const at = among.findLastIndex((one) => one.text.startsWith(text.slice(0, 1)));
            expect(recent.take((one) => one.text.startsWith(text.slice(0, 1)), 5)).to.deep.equal(among[at]);
            if (at >= 0) came = came.toSpliced(came.length - among.length + at, 1);
          }
          recent.add({ text });
          // What is too large for all of the space is not kept, and makes no room for itself.
          if (sizeOf([{ text }]) <= most) came = [...came, { text }];
          while (sizeOf(came) > most) came = came.slice(1);
          expect(recent.bytes).to.equal(sizeOf(came)).and.to.be.at.most(most);
        }
        const found: Entry[] = [];
        for (let before: number | undefined = Infinity; before !== undefined;) {
          const { entries: page, next } = recent.list(limit, before);
          found.push(...page.map(({ entry }) => entry));
          before = next;
        }
        expect(found).to.deep.equal(came.toReversed());
      }),
    );
  });
});
