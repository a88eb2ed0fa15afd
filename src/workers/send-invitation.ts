import { sendInvitation } from '#src/jobs/definitions.ts';
import { type JobHandler, jobHandler } from '#src/jobs/job-definition.ts';
import type { InvitationMails } from '#src/services/mail/invitations/invitation-mails.ts';

export const sendInvitationHandler = (mails: InvitationMails): JobHandler =>
  jobHandler(sendInvitation, async ({ token }) => {
    await mails.send(token);
    return undefined;
  });
