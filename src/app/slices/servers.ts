import { HOUR_MS } from '#src/kernel/dates.ts';
import type { SignatureVerifier } from '#src/kernel/verification/signature-verifier.ts';
import { ThreadedVerifier } from '#src/kernel/verification/threaded-verifier.ts';
import { AddressGuard } from '#src/remote/address-guard.ts';
import { DestinationBackoff } from '#src/remote/federation/destination-backoff.ts';
import { FederationClient } from '#src/remote/federation/federation-client.ts';
import { OutboundHttp } from '#src/remote/outbound-http.ts';
import { ServiceRecords } from '#src/remote/federation/service-records.ts';
import { WellKnownServers } from '#src/remote/federation/well-known-servers.ts';
import { ServerDiscovery } from '#src/remote/federation/server-discovery.ts';
import { Contacts } from '#src/services/servers/contacts.ts';
import { EventVerifier } from '#src/services/servers/keys/event-verifier.ts';
import { KeyNotary } from '#src/services/servers/keys/key-notary.ts';
import { StoredOutages } from '#src/services/servers/health/stored-outages.ts';
import type { Timer } from '#src/kernel/timers.ts';
import { sweepServerKeys } from '#src/storage/servers/server-key-rows.ts';
import { OwnKeys } from '#src/services/servers/keys/own-keys.ts';
import { ServerKeys } from '#src/services/servers/keys/server-keys.ts';
import { RequestAuthenticator } from '#src/services/servers/requests/request-authenticator.ts';
import { ServerPolicy } from '#src/services/servers/server-policy.ts';
import type { Platform } from '../ground/platform.ts';
import type { ServerFiles } from '../ground/server-files.ts';
import type { Slice } from '../ground/slice.ts';
import type { Outbound } from './outbound.ts';

/** Hosts whose `/.well-known/matrix/server` is requested at the same time. */
const DISCOVERIES = 128;
const DISCOVERY_CONNECT_MS = 5_000;
/** Bytes of the cache of server keys: the keys that were requested longest ago are dropped first. */
const MAX_KEY_BYTES = 128 * 1024 * 1024;
const SWEEP_MS = 6 * HOUR_MS;

/** Other servers: which ones this one federates with, requests to them, and how their requests and events are verified. */
export interface Servers {
  readonly serverPolicy: ServerPolicy;
  readonly contacts: Contacts;
  readonly backoff: DestinationBackoff;
  readonly federationClient: FederationClient;
  readonly ownKeys: OwnKeys;
  readonly serverKeys: ServerKeys;
  readonly keyNotary: KeyNotary;
  readonly signatureVerifier: SignatureVerifier;
  readonly eventVerifier: EventVerifier;
  readonly requestAuthenticator: RequestAuthenticator;
}

export function composeServers(below: Platform & ServerFiles & Outbound): Slice<Servers> {
  const {
    certificateAuthorities,
    clock,
    config,
    database,
    logger,
    metrics,
    random,
    rateLimiter,
    retiredKeys,
    signingKeys,
  } = below;
  const { timers, version } = below;
  const { serverName } = config;
  const { allow, allowIpRanges, deny, denyIpRanges, enabled, keyServers, staticHosts } = config.federation;
  const serverPolicy = new ServerPolicy({ enabled, allow, deny });
  const contacts = new Contacts(logger);
  const outages = new StoredOutages({ database, clock, timers, logger });
  const backoff = new DestinationBackoff({
    clock,
    random,
    contacts,
    changed: (name, outage) => outages.changed(name, outage),
  });
  const guarded = {
    guard: new AddressGuard({ deny: denyIpRanges, allow: allowIpRanges }),
    timers,
    userAgent: `Tsudoi/${version}`,
    certificateAuthorities,
    resolve: below.nameResolver.addresses,
  };
  // A limit of its own: hosts that do not answer must not hold up other requests.
  const discoveryHttp = new OutboundHttp({
    ...guarded,
    perOrigin: 1,
    concurrency: DISCOVERIES,
    connectMs: DISCOVERY_CONNECT_MS,
  });
  const federationClient = new FederationClient({
    serverName,
    signingKey: signingKeys[0],
    verdictOn: (name) => serverPolicy.verdictOn(name),
    discovery: new ServerDiscovery({
      staticHosts,
      wellKnown: new WellKnownServers({
        http: discoveryHttp,
        clock,
        resolve: guarded.resolve,
        concurrency: DISCOVERIES,
      }),
      records: new ServiceRecords({ clock, random, resolve: (name) => below.nameResolver.services(name) }),
    }),
    backoff,
    ...guarded,
    clock,
    logger,
    metrics,
  });
  const ownKeys = new OwnKeys({ serverName, signingKeys, retiredKeys, clock });
  const serverKeys = new ServerKeys({
    database,
    client: federationClient,
    own: ownKeys,
    allows: (name) => serverPolicy.allows(name),
    notaries: keyServers,
    contacts,
    clock,
    logger,
    metrics,
  });

  let sweeping: Timer | undefined;
  // Keys that are left are deleted the next time.
  const sweep = (): Promise<void> =>
    sweepServerKeys(database, MAX_KEY_BYTES).catch((err: unknown) =>
      logger.warn('expired server keys could not be deleted', { err }),
    );
  const verifier = new ThreadedVerifier({ timers, logger });
  // One of their own: those of events do not wait behind large bodies that anybody may send.
  const large = new ThreadedVerifier({ timers, logger, threads: 1, heapMiB: 192 });
  return {
    name: 'servers',
    services: {
      serverPolicy,
      contacts,
      backoff,
      federationClient,
      ownKeys,
      serverKeys,
      keyNotary: new KeyNotary({ keys: serverKeys, own: ownKeys, rateLimiter, clock }),
      signatureVerifier: verifier,
      eventVerifier: new EventVerifier({ keys: serverKeys, verifier }),
      requestAuthenticator: new RequestAuthenticator({
        serverName,
        policy: serverPolicy,
        keys: serverKeys,
        contacts,
        rateLimiter,
        clock,
        large,
      }),
    },
    async start() {
      await outages.start(backoff);
      // A sweep that a kill ends is made again, whole.
      sweeping = timers.every(SWEEP_MS, () => void sweep());
    },
    idle: () => outages.idle(),
    async close() {
      sweeping?.cancel();
      await discoveryHttp.close();
      await federationClient.close();
      await verifier.close();
      await large.close();
      await outages.close();
    },
  };
}
