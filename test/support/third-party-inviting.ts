import {
  composeThirdPartyInvites,
  type ThirdPartyInviting,
  type ThirdPartyInvitingParts,
} from '#src/app/third-party-invites.ts';
import type { Clock } from '#src/kernel/clock.ts';
import { silentLogger } from '#src/kernel/logger.ts';
import { systemRandom } from '#src/kernel/random.ts';
import { TokenBucketLimiter } from '#src/kernel/rate-limiter.ts';
import { systemTimers } from '#src/kernel/timers.ts';
import { AddressGuard } from '#src/remote/address-guard.ts';
import { OutboundHttp } from '#src/remote/outbound-http.ts';
import { InvitePermission } from '#src/services/user-data/account-data/invite-permission.ts';
import type { AccountDataService } from '#src/services/user-data/account-data/account-data-service.ts';
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
  parts: Pick<ThirdPartyInvitingParts, 'rooms' | 'stream' | 'events' | 'membership' | 'profiles' | 'signingKeys'> & {
    readonly accountData: AccountDataService;
  },
  settings: ThirdPartyInvitingSettings,
): ThirdPartyInviting => {
  const { serverName, publicBaseUrl = `https://${serverName}`, builtIn = true, trustedServers = [] } = settings;
  const rateLimits = { enabled: settings.rateLimits !== undefined, buckets: settings.rateLimits ?? {} };
  const nowhere = { guard: new AddressGuard({ deny: ['0.0.0.0/0', '::/0'], allow: [] }), timers: systemTimers };
  return composeThirdPartyInvites(
    {
      clock,
      database,
      logger: silentLogger,
      random: systemRandom,
      config: { serverName, identity: { builtIn, trustedServers }, rateLimits },
    },
    {
      ...parts,
      invitePermission: new InvitePermission(parts.accountData, (userId) => parts.events.isLocal(userId)),
      rateLimiter: new TokenBucketLimiter(clock, rateLimits),
      publicBaseUrl: () => publicBaseUrl,
      http: settings.http ?? new OutboundHttp({ ...nowhere, userAgent: 'Tsudoi/test' }),
    },
  );
};
