import { findExpiring } from '#src/jobs/definitions.ts';
import { type JobHandler, jobHandler } from '#src/jobs/job-definition.ts';
import type { ExpiryNotices } from '#src/services/mail/notices/expiry-notices.ts';

export const findExpiringHandler = (notices: ExpiryNotices): JobHandler =>
  jobHandler(findExpiring, async (_, signal) => ((await notices.look(signal)) ? undefined : 'interrupted'));
