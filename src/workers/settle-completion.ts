import { settleCompletion } from '#src/jobs/definitions.ts';
import { type JobHandler, jobHandler } from '#src/jobs/job-definition.ts';
import type { CompletedRooms } from '#src/services/federation/partial-state/completed-rooms.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';

export const settleCompletionHandler = (completed: CompletedRooms, rooms: Pick<RoomRegistry, 'byNid'>): JobHandler =>
  jobHandler(settleCompletion, async ({ room: nid, ...completion }) => {
    const room = await rooms.byNid(nid);
    if (room !== undefined) await completed.settle(room, completion);
    return undefined;
  });
