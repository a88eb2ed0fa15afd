import { PublicAddress } from '#src/app/ground/public-address.ts';
import { composeThirdPartyInvites, type ThirdPartyInviting } from '#src/app/slices/third-party-invites.ts';
import type { Clock } from '#src/kernel/clock.ts';
import { silentLogger } from '#src/kernel/logger.ts';
import { systemRandom } from '#src/kernel/random.ts';
import { TokenBucketLimiter } from '#src/kernel/rate-limiter.ts';
import { systemTimers } from '#src/kernel/timers.ts';
import { AddressGuard } from '#src/remote/address-guard.ts';
import { OutboundHttp } from '#src/remote/outbound-http.ts';
import { InvitePermission } from '#src/services/user-data/account-data/invite-permission.ts';
import type { AccountDataService } from '#src/services/user-data/account-data/account-data-service.ts';
import type { SigningKey } from '#src/protocol/signing/signing-key.ts';
import type { RoomEventStream } from '#src/services/events/stream/room-event-stream.ts';
import type { EventService } from '#src/services/events/stream/event-service.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { MembershipService } from '#src/services/rooms/membership/membership-service.ts';
import type { ProfileSource } from '#src/services/rooms/membership/profile-source.ts';
import type { Database } from '#src/storage/database.ts';

export interface ThirdPartyInvitingSettings {
  readonly serverName: string;
  readonly publicBaseUrl?: string;
  readonly builtIn?: boolean;
  readonly trustedServers?: readonly string[];
  readonly http?: Pick<OutboundHttp, 'request'>;
  readonly rateLimits?: Readonly<Record<string, { perSecond: number; burst: number }>>;
}

/** Invitations by address as a server puts them together; unless a test says otherwise, it can reach nobody. */
export const thirdPartyInviting = (
  { database, clock }: { readonly database: Database; readonly clock: Clock },
  parts: {
    readonly rooms: RoomRegistry;
    readonly stream: RoomEventStream;
    readonly events: EventService;
    readonly membership: MembershipService;
    readonly profiles: ProfileSource;
    readonly signingKeys: readonly [SigningKey, ...SigningKey[]];
    readonly accountData: AccountDataService;
  },
  settings: ThirdPartyInvitingSettings,
): ThirdPartyInviting => {
  const { serverName, publicBaseUrl = `https://${serverName}`, builtIn = true, trustedServers = [] } = settings;
  const rateLimits = { enabled: settings.rateLimits !== undefined, buckets: settings.rateLimits ?? {} };
  const nowhere = { guard: new AddressGuard({ deny: ['0.0.0.0/0', '::/0'], allow: [] }), timers: systemTimers };
  return composeThirdPartyInvites({
    clock,
    database,
    logger: silentLogger,
    random: systemRandom,
    config: { serverName, identity: { builtIn, trustedServers }, rateLimits },
    ...parts,
    users: {},
    profileSource: parts.profiles,
    invitePermission: new InvitePermission(parts.accountData, (userId) => parts.events.isLocal(userId)),
    rateLimiter: new TokenBucketLimiter(clock, rateLimits),
    publicAddress: new PublicAddress(publicBaseUrl),
    outbound: settings.http ?? new OutboundHttp({ ...nowhere, userAgent: 'Tsudoi/test' }),
  } as never).services;
};
