import { moveToSuccessor } from '#src/jobs/definitions.ts';
import { type JobHandler, jobHandler } from '#src/jobs/job-definition.ts';
import type { RoomSuccession } from '#src/services/rooms/succession/room-succession.ts';

export const moveToSuccessorHandler = (succession: RoomSuccession): JobHandler =>
  jobHandler(moveToSuccessor, async ({ room, userId }) => {
    await succession.moveUser(room, userId);
    return undefined;
  });
