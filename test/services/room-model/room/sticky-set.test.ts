import { expect } from 'chai';
import { type StickyEntry, StickySet } from '#src/services/room-model/room/sticky-set.ts';
import { StickyView } from '#src/services/events/sticky/sticky-view.ts';

describe('the sticky events of a room', () => {
  const entry = (nid: number, until: number, pos: number | undefined = nid): StickyEntry => {
    const event = { nid, stickyDuration: 1_000 as number | undefined };
    return { event: event as unknown as StickyEntry['event'], pos, until };
  };
  const set = (...entries: StickyEntry[]): StickySet => {
    const made = new StickySet();
    for (const one of entries) made.add(one);
    return made;
  };
  const between = (stickies: StickySet, now: number, after: number, upTo: number): number[] =>
    new StickyView(stickies.unexpired(now), now).between(after, upTo).map(({ nid }) => nid);

  it('are worked out once for all answers between two changes, however many they are', () => {
    const stickies = set(...Array.from({ length: 100 }, (_, index) => entry(index + 1, 5_000)));
    const first = stickies.unexpired(0);
    expect(stickies.unexpired(4_999)).to.equal(first);
    stickies.add(entry(101, 6_000));
    const second = stickies.unexpired(4_999);
    expect(second).to.not.equal(first);
    expect(first.entries.size).to.equal(100);
    expect(stickies.unexpired(5_000).entries.size).to.equal(1);
    stickies.remove(new Set([101]));
    expect(stickies.unexpired(5_000).entries.size).to.equal(0);
  });

  it('are told by position, the last bound included, the first not', () => {
    const stickies = set(entry(4, 9), entry(1, 9, 5), entry(2, 9), entry(3, 9));
    expect(between(stickies, 0, 2, 5)).to.deep.equal([3, 4, 1]);
    expect(between(stickies, 0, 0, 3)).to.deep.equal([2, 3]);
    expect(between(stickies, 0, 5, 9)).to.deep.equal([]);
  });

  it('leave out what is soft-failed, has expired, or was redacted since', () => {
    const redacted = entry(3, 9);
    const softFailed: StickyEntry = { ...entry(4, 9), pos: undefined };
    const stickies = set(entry(1, 2), entry(2, 9), redacted, softFailed);
    const view = new StickyView(stickies.unexpired(1), 1);
    (redacted.event as unknown as { stickyDuration: number | undefined }).stickyDuration = undefined;
    expect(view.between(0, 9).map(({ nid }) => nid)).to.deep.equal([1, 2]);
    expect([1, 2, 3, 4].map((nid) => view.ttl({ nid }))).to.deep.equal([1, 8, undefined, undefined]);
    expect([1, 2, 3, 4].map((nid) => view.positionOf({ nid }))).to.deep.equal([1, 2, undefined, undefined]);
    expect(between(stickies, 2, 0, 9)).to.deep.equal([2]);
  });

  it('that were read do not undo what was heard meanwhile', () => {
    const heard = entry(1, 9, 7);
    const stickies = set(heard);
    stickies.addOlder([{ ...entry(1, 9), pos: undefined }, entry(2, 9)]);
    expect(between(stickies, 0, 0, 9)).to.deep.equal([2, 1]);
  });
});
