import { expect } from 'chai';
import fc from 'fast-check';
import { MENTION_KINDS } from '#src/services/events/building/notification-class.ts';
import { UnreadEntries } from '#src/services/push/unread/unread-entries.ts';
import { notifyRuleWith, UnreadList } from '#src/services/push/unread/unread-list.ts';
import { MAX_EVENTS, MAX_MENTIONS } from '#src/storage/push/unread.ts';

const step = fc.oneof(fc.integer({ min: 1, max: 300 }), fc.constantFrom(2 ** 20, 2 ** 35, 2 ** 45));
const visited = (entries: UnreadEntries, upTo: number): readonly (readonly [number, number])[] => {
  const found: [number, number][] = [];
  entries.visit(upTo, (nid, reason) => void found.push([nid, reason]));
  return found;
};

describe('what is unread for one user in one room', () => {
  it('keeps positions as a list of numbers would, however far apart they are', () => {
    const change = fc.oneof(
      { weight: 9, arbitrary: fc.record({ by: step, reason: fc.nat(7) }) },
      { weight: 1, arbitrary: fc.record({ removed: fc.nat(100) }) },
    );
    fc.assert(
      fc.property(fc.array(change, { maxLength: 200 }), fc.nat(100), (changes, asked) => {
        const entries = new UnreadEntries();
        let model: (readonly [number, number])[] = [];
        let nid = 0;
        const at = (percent: number): number => (model[Math.floor((model.length * percent) / 101)]?.[0] ?? 5) - 1;
        for (const one of changes) {
          if ('by' in one) {
            nid = Math.min(nid + one.by, 2 ** 50);
            entries.push(nid, one.reason);
            model.push([nid, one.reason]);
          } else {
            const upTo = at(one.removed);
            const gone: (readonly [number, number])[] = [];
            entries.shift(upTo, (...entry) => void gone.push(entry));
            expect(gone).to.deep.equal(model.filter(([position]) => position <= upTo));
            model = model.filter(([position]) => position > upTo);
          }
          expect([entries.size, entries.first, entries.last]).to.deep.equal([
            model.length,
            model[0]?.[0],
            model.at(-1)?.[0] ?? -Infinity,
          ]);
        }
        expect(visited(entries, Infinity)).to.deep.equal(model);
        expect(visited(entries, at(asked))).to.deep.equal(model.filter(([position]) => position <= at(asked)));
        const positions = new Map(model);
        for (const position of [at(asked), at(asked) + 1, nid, nid + 1, 0])
          expect(entries.at(position)).to.equal(
            model.find(([one]) => one === position)?.[1] ?? positions.get(position),
          );
      }),
    );
  });

  it('refuses a position before the last one, after which nothing could be read any more', () => {
    const entries = new UnreadEntries();
    entries.push(100, 0);
    expect(() => entries.push(99, 0)).to.throw(RangeError);
    expect(visited(entries, Infinity)).to.deep.equal([[100, 0]]);
  });

  it('takes two bytes for an event where one in sixteen of all events is of the room', () => {
    const entries = new UnreadEntries();
    for (let nid = 1; nid <= 2_000; nid += 1) entries.push(2 ** 40 + nid * 16, nid % 5);
    expect(entries.size).to.equal(2_000);
    // A list that grew has up to half as much room again.
    expect(entries.bytes).to.be.below(2_000 * 2 * 1.6);
  });

  it('counts the newest events, and of those before them the newest that mention the user', () => {
    const list = new UnreadList();
    const all: { readonly nid: number; readonly mentions: boolean }[] = [];
    for (let nid = 1; nid <= 3 * MAX_EVENTS; nid += 1) {
      const mentions = nid % 3 === 0;
      list.add(nid, 'notify', mentions ? MENTION_KINDS.highlight : undefined);
      all.push({ nid, mentions });
    }
    const kept = list.size;
    expect(kept).to.be.within(MAX_EVENTS + MAX_MENTIONS, MAX_EVENTS + MAX_MENTIONS + 250);
    const newest = all.slice(-MAX_EVENTS);
    expect(newest.every(({ nid }) => list.has(nid, notifyRuleWith('all')))).to.equal(true);
    const count = list.count(Infinity, notifyRuleWith('all'));
    expect(count.notification).to.equal(kept);
    const mentions = all.filter((one) => one.mentions && list.has(one.nid, notifyRuleWith('all')));
    expect(count.highlight).to.equal(mentions.length);
    expect(list.count(Infinity, notifyRuleWith('mentions')).notification).to.equal(mentions.length);
    // What is left of the mentions is without gaps: the newest ones.
    const first = mentions[0]!.nid;
    expect(mentions.length).to.equal(all.filter(({ nid, mentions: is }) => is && nid >= first).length);
  });

  it('counts up to any position, and less after it was read', () => {
    fc.assert(
      fc.property(
        fc.array(fc.boolean(), { maxLength: 60 }),
        fc.nat(70),
        fc.nat(70),
        fc.nat(70),
        (marks, upTo, since, read) => {
          const list = new UnreadList();
          marks.forEach((isNotified, index) => list.add(index + 1, isNotified ? 'notify' : 'highlight', undefined));
          const expected = (after: number): number => marks.slice(after, upTo).length;
          const rule = { mode: 'all', since, before: 'muted' } as const;
          expect(list.count(upTo, notifyRuleWith('all')).notification).to.equal(expected(0));
          expect(list.count(upTo, rule).notification).to.equal(
            expected(since) + mutedCount(marks.slice(0, Math.min(since, upTo))),
          );
          list.readUpTo(read);
          expect(list.count(upTo, notifyRuleWith('all')).notification).to.equal(expected(read));
          expect(list.upToFirst).to.equal(read >= marks.length ? Infinity : read);
        },
      ),
    );
  });
});

/** What a muted thread counts of these: what highlights for everybody, which comes before the mute in the rules. */
const mutedCount = (marks: readonly boolean[]): number => {
  const list = new UnreadList();
  marks.forEach((isNotified, index) => list.add(index + 1, isNotified ? 'notify' : 'highlight', undefined));
  return list.count(Infinity, notifyRuleWith('muted')).notification;
};
