import { readFile } from 'node:fs/promises';
import { BlockList, isIP } from 'node:net';
import { healthEndpoints } from '#src/http/health.ts';
import { landingEndpoints } from '#src/http/landing.ts';
import { mountEndpoints } from '#src/http/mount.ts';
import { HttpServer, type TlsFiles } from '#src/http/server.ts';
import { versionsEndpoints } from '#src/http/client-server/versions.ts';
import { wellKnownClientEndpoints } from '#src/http/client-server/wellknown.ts';
import { supportEndpoints } from '#src/http/well-known/support.ts';
import { wellKnownServerEndpoints } from '#src/http/well-known/server.ts';
import { TokenBucketLimiter } from '#src/kernel/rate-limiter.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { advertisedVersions } from '#src/services/server-info/advertised.ts';
import { sql } from '#src/storage/database.ts';
import { accountEntities } from '#src/storage/entities/account-entities.ts';
import type { Application } from './lifecycle.ts';
import type { Platform } from './platform.ts';

/** Everything that `defineEntity` made. */
export const entities = accountEntities;

const PING = sql('ping', 'select 1');
const HTTP_DRAIN_MS = 4_000;

/** Puts the server together on its platform: services, endpoints, listeners. The only place where services are made. */
export async function createApplication(platform: Platform): Promise<Application> {
  const { config, logger, metrics, clock, timers, random, database } = platform;
  const http = new HttpServer({ logger, timers });
  let address = '';
  const publicBaseUrl = (): string => config.publicBaseUrl?.replace(/\/+$/, '') ?? address;
  const { version } = JSON.parse(await readFile(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  const mayReadMetrics = addressFilter(config.metrics.enabled ? config.metrics.allowIpRanges : []);

  const endpoints = [
    ...healthEndpoints({
      isReady: async () =>
        !http.drainSignal.aborted &&
        (await database.query(PING).then(
          () => true,
          () => false,
        )),
      metrics: () => metrics.render(),
      mayReadMetrics,
    }),
    ...landingEndpoints({
      serverName: config.serverName,
      softwareVersion: version,
      publicBaseUrl,
      versions: () => advertisedVersions().versions,
    }),
    ...versionsEndpoints({ versions: advertisedVersions }),
    ...wellKnownClientEndpoints({ publicBaseUrl }),
    ...wellKnownServerEndpoints({
      federationAddress: () => (config.federation.enabled ? (config.wellKnown.server ?? undefined) : undefined),
    }),
    ...supportEndpoints({
      support: () => {
        const { supportContacts, supportPage } = config.wellKnown;
        if (supportContacts.length === 0 && supportPage === null) return undefined;
        return { contacts: supportContacts, ...(supportPage === null ? {} : { supportPage }) };
      },
    }),
  ];
  const koa = mountEndpoints(endpoints, {
    authenticate: async () => {
      throw new MatrixError('M_UNKNOWN_TOKEN', 'No account has logged in with this token.');
    },
    rateLimiter: new TokenBucketLimiter(clock, {
      enabled: config.rateLimits.enabled,
      buckets: config.rateLimits.buckets,
    }),
    clock,
    timers,
    random,
    logger,
    metrics,
    trustedProxies: config.http.trustedProxies,
    drainSignal: http.drainSignal,
    limits: {
      maxBodyBytes: config.http.maxBodyBytes,
      bodyTimeoutMs: config.http.bodyTimeoutMs,
      maxConcurrentRequests: config.http.maxConcurrentRequests,
      compressFromBytes: config.http.compressFromBytes,
    },
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
      const tls = await certificate();
      address = (await http.listen({ bind: config.http.bind, port: config.http.port })).url;
      if (tls !== undefined) {
        const secure = await http.listen({ bind: config.tls.bind, port: config.tls.port, tls });
        logger.info('listening with TLS', { address: secure.url });
      }
      return { address };
    },
    drain: () => http.drain(HTTP_DRAIN_MS),
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
