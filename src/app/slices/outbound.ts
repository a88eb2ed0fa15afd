import { TokenBucketLimiter } from '#src/kernel/limits/rate-limiter.ts';
import { AddressGuard } from '#src/remote/address-guard.ts';
import { ApplicationServicesApi } from '#src/remote/application-services.ts';
import { NameResolver } from '#src/remote/name-resolver.ts';
import { OutboundHttp } from '#src/remote/outbound-http.ts';
import { MAX_AT_ONCE } from '#src/services/push/delivery/gateway-health.ts';
import type { Platform } from '../ground/platform.ts';
import { PublicAddress } from '../ground/public-address.ts';
import type { ServerFiles } from '../ground/server-files.ts';
import type { Slice } from '../ground/slice.ts';

/** Between the server and the network: its public address, its rate limits, its outbound requests. */
export interface Outbound {
  readonly publicAddress: PublicAddress;
  /** Finds where names are, for everything that this server asks of others. */
  readonly nameResolver: NameResolver;
  readonly rateLimiter: TokenBucketLimiter;
  readonly outbound: OutboundHttp;
  /** The same for push gateways only: gateways that do not answer must not hold up other requests. */
  readonly pushOutbound: OutboundHttp;
  /** The same for application services: their URLs are the operator's and may be on this machine. */
  readonly appserviceOutbound: OutboundHttp;
  readonly appserviceApi: ApplicationServicesApi;
}

export function composeOutbound(below: Platform & ServerFiles): Slice<Outbound> {
  const { config, clock, timers, version, certificateAuthorities } = below;
  const nameResolver = new NameResolver({ clock, nameServers: config.dns.nameServers });
  const { enabled, buckets } = config.rateLimits;
  const { denyIpRanges, allowIpRanges } = config.federation;
  const guarded = {
    guard: new AddressGuard({ deny: denyIpRanges, allow: allowIpRanges }),
    timers,
    userAgent: `Tsudoi/${version}`,
    certificateAuthorities,
    resolve: nameResolver.addresses,
  };
  const appserviceOutbound = new OutboundHttp({ ...guarded, guard: new AddressGuard({ deny: [], allow: [] }) });
  return {
    name: 'outbound',
    services: {
      nameResolver,
      publicAddress: new PublicAddress(config.publicBaseUrl),
      rateLimiter: new TokenBucketLimiter(clock, { enabled, buckets }),
      outbound: new OutboundHttp(guarded),
      pushOutbound: new OutboundHttp({
        ...guarded,
        perOrigin: MAX_AT_ONCE,
        concurrency: config.push.concurrency,
      }),
      appserviceOutbound,
      appserviceApi: new ApplicationServicesApi(appserviceOutbound),
    },
    close: async () => nameResolver.close(),
  };
}
