import { sendLoginNotice } from '#src/jobs/definitions.ts';
import { type JobHandler, jobHandler } from '#src/jobs/job-definition.ts';
import type { LoginNotices } from '#src/services/mail/notices/login-notices.ts';

export const sendLoginNoticeHandler = (notices: LoginNotices): JobHandler =>
  jobHandler(sendLoginNotice, async (login) => {
    await notices.send(login);
    return undefined;
  });
