import { settleArrivals } from '#src/jobs/definitions.ts';
import { type JobHandler, jobHandler } from '#src/jobs/job-definition.ts';
import { HIDDEN_FLAGS } from '#src/protocol/events/event-flags.ts';
import { JobElements } from '#src/services/commit/job-elements.ts';
import type { LateRedactions } from '#src/services/events/receiving/late-redactions.ts';
import type { SearchIndex } from '#src/services/reading/search/search-index.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';

export interface SettleArrivalsServices {
  readonly rooms: Pick<RoomRegistry, 'byNid'>;
  readonly loader: EventLoader;
  readonly lateRedactions: LateRedactions;
  readonly searchIndex: SearchIndex;
}

export const settleArrivalsHandler = (services: SettleArrivalsServices): JobHandler =>
  jobHandler(settleArrivals, async ({ events: nids, room: roomNid }) => {
    const { lateRedactions, loader, rooms, searchIndex } = services;
    const room = await rooms.byNid(roomNid);
    if (room === undefined) return undefined;
    const elements = new JobElements();
    await elements.all(nids, async (some) => {
      const loaded = await loader.load(some.map((nid) => ({ room, nid })));
      const events = [...loaded.values()].filter(({ flags }) => (flags & HIDDEN_FLAGS) === 0);
      await lateRedactions.settle(room, events);
      // What is redacted by now has no text any more.
      await searchIndex.take(events.filter(({ nid }) => nid < 0).map((event) => ({ room, event })));
    });
    elements.end();
    return undefined;
  });
