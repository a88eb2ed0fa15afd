import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { ClientAddress } from '#src/http/middleware/client-address.ts';
import { operationName } from '#src/http/operation.ts';
import { mountEndpoints } from '#src/http/mount.ts';
import type { TlsFiles } from '#src/http/server.ts';
import { SETUP_PATH } from '#src/http/tsudoi/setup.ts';
import type { Requester } from '#src/services/accounts/sessions/requester.ts';
import { APPSERVICE_SYNC_PATH, AppserviceWebSockets } from '#src/ws/appservice-sockets.ts';
import { WEBSOCKET_PATH, WebSocketApi } from '#src/ws/web-socket-api.ts';
import type { Config } from './config/config.ts';
import { type EndpointServices, ENDPOINTS } from './endpoints.ts';
import { Health } from './ground/health.ts';
import type { Platform } from './ground/platform.ts';
import { addSynapseNames } from './ground/synapse-names.ts';
import { type ServerInfo, serverInfo } from './server-info.ts';
import type { ServerFiles } from './ground/server-files.ts';
import type { Slice } from './ground/slice.ts';
import type { Accounts } from './slices/accounts.ts';
import type { AppserviceDelivery } from './slices/appservices.ts';
import type { AppserviceRegistry } from './slices/appservice-registry.ts';
import type { Listeners } from './slices/listeners.ts';
import type { Media } from './slices/media.ts';
import type { Outbound } from './slices/outbound.ts';
import type { Privacy } from './slices/privacy.ts';
import type { Servers } from './slices/servers.ts';
import type { Sync } from './slices/sync.ts';
import type { Users } from './slices/users.ts';
import type { Watching } from './slices/watching.ts';

/** The services that endpoints call are named by the endpoints: one that a new endpoint calls need not be named here. */
type Below = Platform &
  ServerFiles &
  Outbound &
  Listeners &
  AppserviceRegistry &
  Pick<AppserviceDelivery, 'appserviceSockets'> &
  Pick<Servers, 'requestAuthenticator'> &
  Pick<Users, 'accountStream'> &
  Pick<Accounts, 'activity' | 'firstAdmin' | 'sessions'> &
  Pick<Sync, 'sync' | 'syncUsers'> &
  Pick<Media, 'contents'> &
  Pick<Privacy, 'exportFiles'> &
  Watching &
  Omit<EndpointServices, keyof ServerInfo>;

/** The HTTP server and the WebSocket APIs, with what they need. */
export interface Edge {
  readonly webSockets: WebSocketApi;
}

export function composeEdge(below: Below): Slice<Edge> {
  const { config, firstAdmin, logger, http, outbound, publicAddress } = below;
  const health = new Health(below);
  let loaded: TlsFiles | undefined;
  measureEdge(below, health, () => loaded);
  if (config.metrics.synapseNames) addSynapseNames(below.metrics, METHODS);
  mountHttp(below, serverInfo(below, http.drainSignal, health), health);
  const webSockets = mountWebSockets(below, health);
  mountAppserviceSockets(below);
  return {
    name: 'edge',
    services: { webSockets },
    async start() {
      const tls = (loaded = await certificate(config));
      publicAddress.listensAt((await http.listen({ bind: config.http.bind, port: config.http.port })).url);
      if (tls !== undefined) {
        const secure = await http.listen({ bind: config.tls.bind, port: config.tls.port, tls });
        logger.info('listening with TLS', { address: secure.url });
      }
      const token = await firstAdmin.token();
      if (token !== undefined) {
        logger.info('create the first administrator here', {
          link: `${publicAddress.url}${SETUP_PATH}?token=${token}`,
        });
      }
    },
    // Requests to other servers that are still open are aborted: their callers are gone.
    close: () => outbound.close(),
    async reload() {
      const tls = await certificate(config);
      if (tls === undefined) return;
      http.reloadTls(tls);
      loaded = tls;
      logger.info('certificate reloaded');
    },
  };
}

/** The HTTP methods of operations, by the operations' names in metrics. */
const METHODS = new Map(ENDPOINTS.map((endpoint) => [operationName(endpoint), endpoint.method]));
/** Milliseconds in which the database has to answer to count as reachable. */
const DATABASE_MS = 2_000;

/** Measures whether the server can serve, and until when its certificate is good. */
function measureEdge(
  { metrics, timers }: Pick<Platform, 'metrics' | 'timers'>,
  health: Pick<Health, 'isReady'>,
  loaded: () => TlsFiles | undefined,
): void {
  metrics.valuesOf({
    name: 'tsudoi_database_up',
    help: '1 while the database can be used, else 0',
    kind: 'gauge',
    async read() {
      const isUp = await Promise.race([health.isReady(), timers.sleep(DATABASE_MS).then(() => false)]);
      return [{ labels: {}, value: isUp ? 1 : 0 }];
    },
  });
  metrics.valuesOf({
    name: 'tsudoi_tls_certificate_expiry_timestamp_seconds',
    help: 'expiry of the TLS certificate, in seconds since the epoch; absent behind a TLS proxy',
    kind: 'gauge',
    read() {
      const tls = loaded();
      return tls === undefined
        ? []
        : [{ labels: {}, value: new X509Certificate(tls.cert).validToDate.getTime() / 1_000 }];
    },
  });
}

async function certificate(config: Config): Promise<TlsFiles | undefined> {
  const { certFile, keyFile } = config.tls;
  if (certFile === null || keyFile === null) return undefined;
  return { cert: await readFile(certFile), key: await readFile(keyFile) };
}

/** Notes when a device was last seen. */
const noting =
  ({ activity }: Pick<Accounts, 'activity'>) =>
  ({ userId, deviceId }: Requester, ip: string, userAgent: string | undefined): void => {
    if (deviceId !== undefined) activity.seen(userId, deviceId, ip, userAgent);
  };

function mountHttp(below: Below, info: ServerInfo, { explain }: Health): void {
  const {
    appservices,
    bytesInFlight,
    config,
    clock,
    http,
    httpLimits,
    logger,
    metrics,
    random,
    rateLimiter,
    sessions,
    slowRequests,
    timers,
    turns,
  } = below;
  const koa = mountEndpoints(
    ENDPOINTS,
    { ...below, ...info },
    {
      authenticate: (token, allow, asserted) => sessions.authenticate(token, allow, asserted),
      authenticateServer: (request) => below.requestAuthenticator.authenticate(request),
      knows: (token) => sessions.knows(token),
      isAppservice: (token) => appservices.byToken(token) !== undefined,
      seen: noting(below),
      rateLimiter,
      clock,
      timers,
      random,
      logger,
      metrics,
      trustedProxies: config.http.trustedProxies,
      drainSignal: http.drainSignal,
      limits: httpLimits,
      bytesInFlight,
      turns,
      explain,
      requestLog: {
        level: config.log.requests,
        slowMs: config.log.slowRequestMs,
        onSlow: (request) => slowRequests.add(request),
      },
    },
  );
  http.handle(koa.callback());
}

/** The WebSocket API: the same services as HTTP, frames of its own. */
function mountWebSockets(below: Below, { explain }: Health): WebSocketApi {
  const { bytesInFlight, clock, config, http, logger, metrics, rateLimiter, timers, turns } = below;
  const {
    accountStream,
    filters,
    history,
    joins,
    membership,
    presence,
    readMarkers,
    roomSending,
    sessions,
    sync,
    syncUsers,
    typing,
  } = below;
  const { enabled, heartbeatMs, maxQueueBytes } = config.websocket;
  const addresses = new ClientAddress(config.http.trustedProxies);
  const api = new WebSocketApi({
    services: {
      sessions,
      accountStream,
      sync,
      users: syncUsers,
      filters,
      presence: {
        seen: (userId, state, deviceId) => presence.seen(userId, state, deviceId),
        set: (userId, state, statusMsg) => presence.set(userId, userId, state, statusMsg),
      },
      typing,
      readMarkers,
      sending: roomSending,
      joins,
      membership,
      history,
    },
    rateLimiter,
    bytesInFlight,
    turns,
    explain,
    clock,
    timers,
    logger,
    metrics,
    drainSignal: http.drainSignal,
    clientAddress: (remoteAddress, forwardedFor) => addresses.of(remoteAddress, forwardedFor),
    seen: noting(below),
    limits: { heartbeatMs, maxQueueBytes },
  });
  if (enabled) http.onUpgrade(WEBSOCKET_PATH, api.upgrade);
  return api;
}

/** WebSockets over which application services are sent their transactions. */
function mountAppserviceSockets(below: Below): void {
  const {
    appservices,
    appserviceSockets: sockets,
    bytesInFlight,
    clock,
    config,
    http,
    logger,
    metrics,
    timers,
  } = below;
  const { drainSignal } = http;
  const { heartbeatMs } = config.websocket;
  const addresses = new ClientAddress(config.http.trustedProxies);
  const api = new AppserviceWebSockets({
    appservices,
    sockets,
    clock,
    timers,
    logger,
    metrics,
    bytesInFlight,
    clientAddress: (remoteAddress, forwardedFor) => addresses.of(remoteAddress, forwardedFor),
    drainSignal,
    heartbeatMs,
  });
  http.onUpgrade(APPSERVICE_SYNC_PATH, api.upgrade);
}
