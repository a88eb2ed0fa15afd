import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { RoomOverviews } from '#src/services/rooms/directory/room-overviews.ts';
import { roomsAfter } from '#src/storage/admin/background-updates.ts';
import type { Database } from '#src/storage/database.ts';
import { type BackgroundUpdate, stepOver } from './update.ts';

const ROOMS_AT_ONCE = 20;

/** Rebuilds the table by which administrators list and sort rooms. */
export const roomOverviewsUpdate = (options: {
  readonly database: Database;
  readonly rooms: Pick<RoomRegistry, 'load'>;
  readonly overviews: Pick<RoomOverviews, 'write'>;
}): BackgroundUpdate => ({
  name: 'populate_stats_process_rooms',
  async step(after) {
    const { database, overviews, rooms } = options;
    const nids = await roomsAfter(database, Number(after), ROOMS_AT_ONCE);
    await overviews.write((await rooms.load(nids)).values());
    return stepOver(nids, ROOMS_AT_ONCE);
  },
});
