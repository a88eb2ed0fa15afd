import { sendDigest } from '#src/jobs/definitions.ts';
import { type JobHandler, jobHandler } from '#src/jobs/job-definition.ts';
import type { DigestService } from '#src/services/mail/digests/digest-service.ts';

export const sendDigestHandler = (digests: DigestService): JobHandler =>
  jobHandler(sendDigest, async ({ pusher }) => {
    await digests.send(pusher);
    return undefined;
  });
