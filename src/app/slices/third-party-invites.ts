import { IdentityService } from '#src/remote/identity-service.ts';
import { InviteKeys } from '#src/services/rooms/third-party-invites/invite-keys.ts';
import { InviteRedemption } from '#src/services/rooms/third-party-invites/invite-redemption.ts';
import { ThirdPartyInvites } from '#src/services/rooms/third-party-invites/third-party-invites.ts';
import type { Platform } from '../ground/platform.ts';
import type { ServerFiles } from '../ground/server-files.ts';
import type { Slice } from '../ground/slice.ts';
import type { RoomClosing } from './closed-rooms.ts';
import type { Events } from './events.ts';
import type { Memberships } from './membership.ts';
import type { Outbound } from './outbound.ts';
import type { Policy } from './policy.ts';
import type { RoomModel } from './room-model.ts';
import type { UserData } from './user-data.ts';
import type { Users } from './users.ts';

/** Invitations of people who are known only by an address. */
export interface ThirdPartyInviting {
  readonly inviteKeys: InviteKeys;
  readonly inviteRedemption: InviteRedemption;
  readonly thirdPartyInvites: ThirdPartyInvites;
}

export function composeThirdPartyInvites(
  below: Platform & ServerFiles & Outbound & Policy & Users & UserData & RoomModel & Events & RoomClosing & Memberships,
): Slice<ThirdPartyInviting> {
  const { clock, config, database, logger, outbound, publicAddress, random, rateLimiter, signingKeys } = below;
  const { events, invitePermission, membership, profileSource: profiles, rooms } = below;
  const { serverName, identity, rateLimits } = config;
  const publicBaseUrl = (): string => publicAddress.url;
  const inviteKeys = new InviteKeys({ database, random, serverName, signingKeys, publicBaseUrl });
  const inviteRedemption = new InviteRedemption({
    database,
    clock,
    logger,
    rooms,
    closed: below.closedRooms,
    events,
    profiles,
    invitePermission,
    keys: inviteKeys,
    sendsMail: config.email.smtpUrl !== null,
  });
  const thirdPartyInvites = new ThirdPartyInvites({
    database,
    clock,
    random,
    rateLimiter,
    rooms,
    events,
    membership,
    profiles,
    keys: inviteKeys,
    redemption: inviteRedemption,
    identity: new IdentityService(outbound),
    trustedServers: identity.trustedServers,
    policy: below.policyGate,
    shadowBans: below.shadowBans,
    builtIn: identity.builtIn,
    ownNames: () => [serverName, new URL(publicAddress.url).host],
    maxAtOnce: rateLimits.enabled ? rateLimits.buckets['third_party_invite']?.burst : undefined,
  });
  return {
    name: 'third-party-invites',
    services: {
      inviteKeys,
      inviteRedemption,
      thirdPartyInvites,
    },
  };
}
