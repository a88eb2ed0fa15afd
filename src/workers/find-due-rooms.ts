import { findDueRooms } from '#src/jobs/definitions.ts';
import { type JobHandler, jobHandler } from '#src/jobs/job-definition.ts';
import type { RetentionService } from '#src/services/retention/retention-service.ts';

export const findDueRoomsHandler = (retention: RetentionService): JobHandler =>
  jobHandler(findDueRooms, async (_payload, signal) => {
    await retention.findDueRooms(signal);
    return signal.aborted ? 'interrupted' : undefined;
  });
