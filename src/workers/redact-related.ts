import { redactRelated } from '#src/jobs/definitions.ts';
import { type JobHandler, jobHandler } from '#src/jobs/job-definition.ts';
import type { RelatedRedactions } from '#src/services/rooms/sending/related-redactions.ts';

export const redactRelatedHandler = (redactions: RelatedRedactions): JobHandler =>
  jobHandler(redactRelated, async (request, signal) =>
    (await redactions.redact(request, signal)) ? undefined : 'interrupted',
  );
