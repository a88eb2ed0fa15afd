import { cleanOutsideRooms } from '#src/jobs/definitions.ts';
import { type JobHandler, jobHandler } from '#src/jobs/job-definition.ts';
import type { OutsideCleaner } from '#src/services/federation/joins/outside-cleaner.ts';

export const cleanOutsideRoomsHandler = (cleaner: OutsideCleaner): JobHandler =>
  jobHandler(cleanOutsideRooms, async (_payload, signal) => {
    await cleaner.clean(signal);
    return undefined;
  });
