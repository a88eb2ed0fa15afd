import { findDigests } from '#src/jobs/definitions.ts';
import { type JobHandler, jobHandler } from '#src/jobs/job-definition.ts';
import type { DigestService } from '#src/services/mail/digests/digest-service.ts';

export const findDigestsHandler = (digests: DigestService): JobHandler =>
  jobHandler(findDigests, async (_, signal) => ((await digests.look(signal)) ? undefined : 'interrupted'));
