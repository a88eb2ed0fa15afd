import { finishDeactivation } from '#src/jobs/definitions.ts';
import { type JobHandler, jobHandler } from '#src/jobs/job-definition.ts';
import type { Deactivation } from '#src/services/admin/deactivation/deactivation.ts';

export const finishDeactivationHandler = (deactivation: Deactivation): JobHandler =>
  jobHandler(finishDeactivation, async ({ userId }, signal) =>
    (await deactivation.finish(userId, signal)) ? undefined : 'interrupted',
  );
