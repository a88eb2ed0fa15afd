import { inviteByAddressRevoked } from '#src/jobs/definitions.ts';
import { type JobHandler, jobHandler } from '#src/jobs/job-definition.ts';
import type { InviteRedemption } from '#src/services/rooms/third-party-invites/invite-redemption.ts';

export const inviteByAddressRevokedHandler = (redemption: InviteRedemption): JobHandler =>
  jobHandler(inviteByAddressRevoked, async ({ token, roomId }) => {
    await redemption.revoked(token, roomId);
    return undefined;
  });
