import { purgeRoom } from '#src/jobs/definitions.ts';
import { type JobHandler, jobHandler } from '#src/jobs/job-definition.ts';
import type { RetentionService } from '#src/services/retention/retention-service.ts';

export const purgeRoomHandler = (retention: RetentionService): JobHandler =>
  jobHandler(purgeRoom, async ({ room, beforeTs }, signal) =>
    (await retention.purgeRoom(room, beforeTs, signal)) ? undefined : 'interrupted',
  );
