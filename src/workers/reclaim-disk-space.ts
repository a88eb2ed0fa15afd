import { reclaimDiskSpace } from '#src/jobs/definitions.ts';
import { type JobHandler, jobHandler } from '#src/jobs/job-definition.ts';
import type { DiskSpaceReclaimer } from '#src/services/retention/disk-space-reclaimer.ts';

export const reclaimDiskSpaceHandler = (reclaimer: DiskSpaceReclaimer): JobHandler =>
  jobHandler(reclaimDiskSpace, async (_payload, signal) =>
    (await reclaimer.reclaimDiskSpace(signal)) ? undefined : 'interrupted',
  );
