import { redeemThirdPartyInvite } from '#src/jobs/definitions.ts';
import { type JobHandler, jobHandler } from '#src/jobs/job-definition.ts';
import type { InviteRedemption } from '#src/services/rooms/third-party-invites/invite-redemption.ts';

export const redeemThirdPartyInviteHandler = (redemption: InviteRedemption): JobHandler =>
  jobHandler(redeemThirdPartyInvite, async ({ token }) => {
    await redemption.redeem(token);
    return undefined;
  });
