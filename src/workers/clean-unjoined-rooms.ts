import { cleanUnjoinedRooms } from '#src/jobs/definitions.ts';
import { type JobHandler, jobHandler } from '#src/jobs/job-definition.ts';
import type { UnjoinedRoomCleaner } from '#src/services/federation/out-of-band/unjoined-room-cleaner.ts';

export const cleanUnjoinedRoomsHandler = (cleaner: UnjoinedRoomCleaner): JobHandler =>
  jobHandler(cleanUnjoinedRooms, async (_payload, signal) => {
    await cleaner.clean(signal);
    return undefined;
  });
