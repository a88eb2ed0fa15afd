import { readFile } from 'node:fs/promises';
import { BlockList, isIP } from 'node:net';
import { mountEndpoints } from '#src/http/mount.ts';
import type { TlsFiles } from '#src/http/server.ts';
import { SETUP_PATH } from '#src/http/tsudoi/setup.ts';
import { ROOM_VERSIONS } from '#src/protocol/room-versions/room-versions.ts';
import { GuestAccess } from '#src/services/rooms/membership/guest-access.ts';
import { Farewells } from '#src/services/rooms/membership/farewells.ts';
import { ReportService } from '#src/services/rooms/reports/report-service.ts';
import { retentionConfiguration } from '#src/services/retention/retention-policy.ts';
import { advertisedCapabilities, advertisedVersions } from '#src/services/server-info/advertised.ts';
import { AccountThreepids } from '#src/services/accounts/threepids/account-threepids.ts';
import { SessionPolls } from '#src/services/accounts/sessions/session-polls.ts';
import { sql } from '#src/storage/database.ts';
import { accountEntities } from '#src/storage/entities/account-entities.ts';
import { ReportEntity } from '#src/storage/entities/report.ts';
import { redeemThirdPartyInviteHandler } from '#src/workers/redeem-third-party-invite.ts';
import { composeAccountServices } from './account-services.ts';
import { composeAccounts } from './accounts.ts';
import { composeDelayedEvents } from './delayed-events.ts';
import { composeEdge } from './edge.ts';
import { type EndpointServices, ENDPOINTS } from './endpoints.ts';
import { composeJobs } from './jobs.ts';
import { openSigningKeys } from './keys.ts';
import type { Application } from './lifecycle.ts';
import { composeOutbound } from './outbound.ts';
import { composePeeking } from './peeking.ts';
import type { Platform } from './platform.ts';
import { composeEvents, composeReception, composeRooms, composeRoomStore } from './rooms.ts';
import { composePeople, composeSearch } from './search.ts';
import { composeSync, type MoreSections } from './sync.ts';
import { composeThirdPartyInvites } from './third-party-invites.ts';
import { composeNotifications, composeUserData, profileSource } from './user-data.ts';
import { mountWebSocket } from './web-socket.ts';

/** Everything that `defineEntity` made. */
export const entities = [...accountEntities, ReportEntity];

const PING = sql('ping', 'select 1');
const HTTP_DRAIN_MS = 4_000;

/** What a server has beside the usual. */
export interface Extensions {
  readonly sections?: MoreSections;
}

/** Puts the server together on its platform: services, endpoints, listeners. The only place where services are made. */
export async function createApplication(platform: Platform, extensions: Extensions = {}): Promise<Application> {
  const { config, logger, metrics, clock, timers, random, database } = platform;
  const edge = composeEdge(platform);
  const { http, rateLimiter } = edge;
  let address = '';
  const publicBaseUrl = (): string => config.publicBaseUrl?.replace(/\/+$/, '') ?? address;
  const { version } = JSON.parse(await readFile(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };

  const accounts = await composeAccounts(platform, rateLimiter);
  const { users, sessions, activity, firstAdmin } = accounts;
  const isLocal = (userId: string): boolean => users.isLocal(userId);
  const store = composeRoomStore(platform, isLocal);
  const notifications = composeNotifications(platform, store, isLocal);
  const signingKeys = await openSigningKeys(config.signingKeyFile, random);
  const outbound = await composeOutbound(platform, version);
  const events = composeEvents(
    platform,
    store,
    { serverName: config.serverName, signingKey: signingKeys[0] },
    notifications.classifier,
  );
  const reception = composeReception(platform, store, events, notifications.classifier);
  const userData = composeUserData(platform, store, events, notifications, users);
  const profiles = profileSource(userData.profiles);
  const rooms = composeRooms(platform, store, events, profiles, notifications.accountData, (parts) =>
    composeThirdPartyInvites(platform, {
      ...parts,
      rooms: store.rooms,
      stream: store.stream,
      events,
      profiles,
      rateLimiter,
      signingKeys,
      publicBaseUrl,
      http: outbound,
    }),
  );
  const { inviteRedemption } = rooms;
  const accountThreepids = new AccountThreepids({ database, clock, users, claims: inviteRedemption });
  const engine = composeSync(
    platform,
    { store, events, rooms, accountData: notifications.accountData, userData },
    extensions.sections,
  );
  const delayed = composeDelayedEvents(platform, rateLimiter, users, rooms.roomSending, store.writer);
  const search = composeSearch(platform, store, rooms, notifications.accountData);
  const people = composePeople(platform, store, { users, profiles: userData.profiles });
  users.onRegistered(({ account, displayName }) => {
    if (displayName === undefined) return;
    userData.profiles.setDisplayname(account.userId, displayName).catch((err: unknown) => {
      logger.error('the name of a new user could not be set', { user_id: account.userId, err });
    });
  });
  const jobs = composeJobs(platform, store, [redeemThirdPartyInviteHandler(inviteRedemption)]);
  const farewells = new Farewells({
    database,
    interner: store.interner,
    accounts: accounts.accounts,
    membership: rooms.membership,
    profiles: userData.profiles,
    logger,
  });
  accounts.accounts.onDeactivated(({ userId }) => {
    accountThreepids.release(userId).catch((err: unknown) => {
      logger.error('the addresses of a deactivated user could not be released', { user_id: userId, err });
    });
  });
  const guestAccess = new GuestAccess({
    database,
    rooms: store.rooms,
    stream: store.stream,
    membership: rooms.membership,
    logger,
  });
  if (config.websocket.enabled) mountWebSocket(platform, http, rateLimiter, accounts, rooms, userData, engine);

  accounts.accounts.onDeactivated(({ userId }) => {
    delayed.delayedEvents.cancelAll(userId).catch((err: unknown) => {
      // None of them will be sent all the same: that is asked at the time.
      logger.warn('the delayed events of a deactivated user could not be cancelled', { user_id: userId, err });
    });
  });

  const reports = new ReportService({ database, rooms: store.rooms, finder: rooms.finder, users, clock });
  const services: EndpointServices = {
    reports,
    accountThreepids,
    ...accounts,
    ...composeAccountServices(platform, users),
    ...composePeeking(platform, store, rooms, userData, notifications),
    ...rooms,
    ...delayed,
    ...userData,
    ...search,
    ...people,
    accountData: notifications.accountData,
    pushRules: notifications.pushRules,
    rooms: store.rooms,
    sync: engine.sync,
    sessionPolls: new SessionPolls(sessions),
    greatestTimeoutMs: config.sync.maxTimeoutMs,
    serverName: config.serverName,
    softwareVersion: version,
    publicBaseUrl,
    versions: advertisedVersions,
    retentionConfiguration: () => retentionConfiguration(config.retention.enabled ? config.retention : undefined),
    capabilities: ({ isAdmin }) =>
      advertisedCapabilities({
        canModerateAccounts: isAdmin,
        delayedEvents: config.delayedEvents,
        defaultRoomVersion: config.room.defaultVersion,
        stableRoomVersions: [...ROOM_VERSIONS.keys()],
        canChangePassword: true,
      }),
    federationAddress: () => (config.federation.enabled ? (config.wellKnown.server ?? undefined) : undefined),
    support: () => {
      const { supportContacts, supportPage } = config.wellKnown;
      if (supportContacts.length === 0 && supportPage === null) return undefined;
      return { contacts: supportContacts, ...(supportPage === null ? {} : { supportPage }) };
    },
    isReady: async () =>
      !http.drainSignal.aborted &&
      (await database.query(PING).then(
        () => true,
        () => false,
      )),
    metrics: () => metrics.render(),
    mayReadMetrics: addressFilter(config.metrics.enabled ? config.metrics.allowIpRanges : []),
  };
  const koa = mountEndpoints(ENDPOINTS, services, {
    authenticate: (token, allow) => sessions.authenticate(token, allow),
    seen: ({ userId, deviceId }, ip, userAgent) => {
      if (deviceId !== undefined) activity.seen(userId, deviceId, ip, userAgent);
    },
    rateLimiter,
    clock,
    timers,
    random,
    logger,
    metrics,
    trustedProxies: config.http.trustedProxies,
    drainSignal: http.drainSignal,
    limits: edge.httpLimits,
    bytesInFlight: edge.bytesInFlight,
    requestLog: { level: config.log.requests, slowMs: config.log.slowRequestMs },
  });
  http.handle(koa.callback());

  const certificate = async (): Promise<TlsFiles | undefined> => {
    const { certFile, keyFile } = config.tls;
    if (certFile === null || keyFile === null) return undefined;
    return { cert: await readFile(certFile), key: await readFile(keyFile) };
  };

  return {
    async start() {
      await store.writer.start();
      await events.sticky.start();
      await search.start();
      await people.start();
      await jobs.start();
      await inviteRedemption.resume();
      farewells.resume();
      guestAccess.resume();
      delayed.start();
      const tls = await certificate();
      address = (await http.listen({ bind: config.http.bind, port: config.http.port })).url;
      if (tls !== undefined) {
        const secure = await http.listen({ bind: config.tls.bind, port: config.tls.port, tls });
        logger.info('listening with TLS', { address: secure.url });
      }
      const token = await firstAdmin.token();
      if (token !== undefined) {
        logger.info('make the first administrator here', { link: `${publicBaseUrl()}${SETUP_PATH}?token=${token}` });
      }
      return { address };
    },
    async drain() {
      await Promise.all([http.drain(HTTP_DRAIN_MS), jobs.close()]);
      await delayed.close();
      await outbound.close();
      await inviteRedemption.close();
      await farewells.idle();
      await guestAccess.idle();
      await userData.close();
      await reception.close();
      await store.writer.close();
      await search.close();
      await people.close();
      await activity.close();
    },
    async reload() {
      const tls = await certificate();
      if (tls === undefined) return;
      http.reloadTls(tls);
      logger.info('certificate reloaded');
    },
  };
}

function addressFilter(ranges: readonly string[]): (ip: string) => boolean {
  const list = new BlockList();
  for (const range of ranges) {
    const [network = '', prefix] = range.split('/');
    const family = isIP(network) === 6 ? 'ipv6' : 'ipv4';
    if (prefix === undefined) list.addAddress(network, family);
    else list.addSubnet(network, Number(prefix), family);
  }
  return (ip) => isIP(ip) !== 0 && list.check(ip, isIP(ip) === 6 ? 'ipv6' : 'ipv4');
}
