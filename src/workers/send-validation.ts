import { sendValidation } from '#src/jobs/definitions.ts';
import { type JobHandler, jobHandler } from '#src/jobs/job-definition.ts';
import type { ValidationMails } from '#src/services/mail/validation/validation-mails.ts';

export const sendValidationHandler = (mails: ValidationMails): JobHandler =>
  jobHandler(sendValidation, async ({ sid, attempt }) => {
    await mails.send(sid, attempt);
    return undefined;
  });
