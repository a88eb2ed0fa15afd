import { copyRoomRules } from '#src/jobs/definitions.ts';
import { type JobHandler, jobHandler } from '#src/jobs/job-definition.ts';
import type { RoomSuccession } from '#src/services/rooms/succession/room-succession.ts';

export const copyRoomRulesHandler = (succession: RoomSuccession): JobHandler =>
  jobHandler(copyRoomRules, async ({ room, successor }, signal) =>
    (await succession.copyRules(room, successor, signal)) ? undefined : 'interrupted',
  );
