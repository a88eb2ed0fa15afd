import { inviteByAddressSent } from '#src/jobs/definitions.ts';
import { type JobHandler, jobHandler } from '#src/jobs/job-definition.ts';
import type { InviteRedemption } from '#src/services/rooms/third-party-invites/invite-redemption.ts';

export const inviteByAddressSentHandler = (redemption: InviteRedemption): JobHandler =>
  jobHandler(inviteByAddressSent, async ({ token, roomId }) => {
    await redemption.sent(token, roomId);
    return undefined;
  });
