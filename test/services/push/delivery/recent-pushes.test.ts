import { expect } from 'chai';
import type { MentionKind } from '#src/services/events/building/notification-class.ts';
import { RecentPushes } from '#src/services/push/delivery/recent-pushes.ts';

describe('pushes of late', () => {
  it('are in memory with so many users whom they notify otherwise, and complete from a place on', () => {
    const recent = new RecentPushes();
    recent.open(0);
    const exceptions = new Map(Array.from({ length: 1_500 }, (_, user) => [user, 1 as MentionKind] as const));
    for (let pos = 1; pos <= 1_000; pos += 1)
      recent.add({ pos, room: 1, event: pos, user_nid: null, ts: 0, pushScope: 'asked', isInMain: true, exceptions });
    const kept = recent.ofRoom(1, 0, Infinity).flatMap((some) => [...some].map(({ pos }) => pos));
    expect(kept.length).to.be.within(100, 267);
    expect(kept).to.deep.equal(Array.from({ length: kept.length }, (_, index) => recent.floor + 1 + index));
    expect(kept.at(-1)).to.equal(1_000);
  });
});
