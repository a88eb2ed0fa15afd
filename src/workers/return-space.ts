import { returnSpace } from '#src/jobs/definitions.ts';
import { type JobHandler, jobHandler } from '#src/jobs/job-definition.ts';
import type { SpaceReturner } from '#src/services/retention/space-returner.ts';

export const returnSpaceHandler = (returner: SpaceReturner): JobHandler =>
  jobHandler(returnSpace, async (_payload, signal) =>
    (await returner.returnSpace(signal)) ? undefined : 'interrupted',
  );
