import { expect } from 'chai';
import { type NextPush, PendingPushes, type PendingPush } from '#src/services/push/delivery/pending-pushes.ts';
import type { PusherRef, PusherRegistry } from '#src/services/push/pushers/pusher-registry.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { ManualClock } from '#test/support/manual-clock.ts';

describe('pushes that wait for a pusher', () => {
  it('keep neither room nor event: those are looked up when it is their turn, and what is gone by then is skipped', async () => {
    const loaded: number[] = [];
    const pusher = { destination: '1', enabled: true, since: 0 } as PusherRef;
    const pending = new PendingPushes({
      registry: { byDestination: () => pusher } as unknown as PusherRegistry,
      clock: new ManualClock(),
      isWanted: async () => true,
      load: async ({ position, at, item }): Promise<NextPush | undefined> => {
        loaded.push(position);
        if (item.kind === 'counts') return { position, at, item };
        const found = { room: { nid: item.room } as Room, event: { nid: item.event } as StoredEvent };
        return position === 2 ? undefined : { position, at, item: { ...item, ...found } };
      },
      read: async () => [],
      caughtUp: async () => undefined,
    });
    const push = (position: number): PendingPush => ({
      position,
      at: 0,
      item: { kind: 'event', room: 7, event: 70 + position, exception: undefined },
    });
    for (const position of [1, 2, 3]) expect(pending.add('1', push(position))).to.equal(true);
    expect(loaded).to.deep.equal([]);
    const sent: unknown[] = [];
    for (let after = 0; ;) {
      const [next] = await pending.next('1', after, 1);
      if (next === undefined) break;
      const { item } = next as NextPush;
      sent.push(item.kind === 'event' ? [item.room.nid, item.event.nid] : item.kind);
      after = next.position;
    }
    expect(sent).to.deep.equal([
      [7, 71],
      [7, 73],
    ]);
    expect(loaded).to.deep.equal([1, 2, 3]);
    expect(pending.size).to.equal(0);
  });
});
