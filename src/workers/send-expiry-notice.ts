import { sendExpiryNotice } from '#src/jobs/definitions.ts';
import { type JobHandler, jobHandler } from '#src/jobs/job-definition.ts';
import type { ExpiryNotices } from '#src/services/mail/notices/expiry-notices.ts';

export const sendExpiryNoticeHandler = (notices: ExpiryNotices): JobHandler =>
  jobHandler(sendExpiryNotice, async ({ expiresTs, userId }) => {
    await notices.send(userId, expiresTs);
    return undefined;
  });
