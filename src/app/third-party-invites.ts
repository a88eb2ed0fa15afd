import type { RateLimiter } from '#src/kernel/rate-limiter.ts';
import type { SigningKey } from '#src/protocol/signing/signing-key.ts';
import { IdentityService } from '#src/remote/identity-service.ts';
import type { OutboundHttp } from '#src/remote/outbound-http.ts';
import type { InvitePermission } from '#src/services/user-data/account-data/invite-permission.ts';
import type { EventService } from '#src/services/events/stream/event-service.ts';
import type { RoomEventStream } from '#src/services/events/stream/room-event-stream.ts';
import type { MembershipService } from '#src/services/rooms/membership/membership-service.ts';
import type { ProfileSource } from '#src/services/rooms/membership/profile-source.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import { InviteKeys } from '#src/services/rooms/third-party-invites/invite-keys.ts';
import { InviteRedemption } from '#src/services/rooms/third-party-invites/invite-redemption.ts';
import { ThirdPartyInvites } from '#src/services/rooms/third-party-invites/third-party-invites.ts';
import type { Config } from './config/config.ts';
import type { Platform } from './platform.ts';

/** Invitations of people of whom only an address is known. */
export interface ThirdPartyInviting {
  readonly inviteKeys: InviteKeys;
  readonly inviteRedemption: InviteRedemption;
  readonly thirdPartyInvites: ThirdPartyInvites;
}

/** What they are made of. */
export interface ThirdPartyInvitingParts {
  readonly rooms: RoomRegistry;
  readonly stream: RoomEventStream;
  readonly events: EventService;
  readonly membership: MembershipService;
  readonly profiles: ProfileSource;
  readonly invitePermission: InvitePermission;
  readonly rateLimiter: RateLimiter;
  readonly signingKeys: readonly [SigningKey, ...SigningKey[]];
  readonly publicBaseUrl: () => string;
  readonly http: Pick<OutboundHttp, 'request'>;
}

export function composeThirdPartyInvites(
  platform: Pick<Platform, 'clock' | 'database' | 'logger' | 'random'> & {
    readonly config: Pick<Config, 'serverName' | 'identity' | 'rateLimits'>;
  },
  parts: ThirdPartyInvitingParts,
): ThirdPartyInviting {
  const { clock, config, database, logger, random } = platform;
  const { serverName, identity, rateLimits } = config;
  const { rooms, stream, events, membership, profiles, invitePermission, rateLimiter, signingKeys, publicBaseUrl } =
    parts;
  const keys = new InviteKeys({ database, random, serverName, signingKeys, publicBaseUrl });
  const redemption = new InviteRedemption({
    database,
    clock,
    logger,
    rooms,
    stream,
    events,
    profiles,
    invitePermission,
    keys,
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
    keys,
    redemption,
    identity: new IdentityService(parts.http),
    trustedServers: identity.trustedServers,
    builtIn: identity.builtIn,
    ownNames: () => [serverName, new URL(publicBaseUrl()).host],
    mostAtOnce: rateLimits.enabled ? rateLimits.buckets['third_party_invite']?.burst : undefined,
  });
  return { inviteKeys: keys, inviteRedemption: redemption, thirdPartyInvites };
}
