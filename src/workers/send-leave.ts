import { sendLeave } from '#src/jobs/definitions.ts';
import { type JobHandler, jobHandler } from '#src/jobs/job-definition.ts';
import type { FederationMembership } from '#src/services/federation/joins/federation-membership.ts';

export const sendLeaveHandler = (membership: FederationMembership): JobHandler =>
  jobHandler(sendLeave, async ({ room, userId }) => {
    await membership.sendLeaveLater(room, userId);
    return undefined;
  });
