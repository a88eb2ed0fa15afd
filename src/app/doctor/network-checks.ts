import { type Check, type Finding, bad, note, ok } from '#src/cli/finding.ts';
import type { Clock } from '#src/kernel/clock.ts';
import { systemRandom } from '#src/kernel/random.ts';
import { systemTimers } from '#src/kernel/timers.ts';
import { parseServerName } from '#src/protocol/identifiers/server-name.ts';
import { AddressGuard } from '#src/remote/address-guard.ts';
import { type DestinationPlace, textOfPlace } from '#src/remote/federation/destination-place.ts';
import { ServerDiscovery } from '#src/remote/federation/server-discovery.ts';
import { ServiceRecords } from '#src/remote/federation/service-records.ts';
import { WellKnownServers } from '#src/remote/federation/well-known-servers.ts';
import { NameResolver } from '#src/remote/name-resolver.ts';
import { OutboundHttp } from '#src/remote/outbound-http.ts';
import { type Answered, ask } from '#src/remote/peer-probe.ts';
import { DAY_MS } from '#src/kernel/dates.ts';
import type { Config } from '../config/config.ts';

/** Milliseconds by which clocks may differ: a request takes its time, and a Date header has whole seconds. */
const SKEW_MS = 5_000;

/** How the network is reached. */
export interface Outside {
  readonly config: Config;
  readonly clock: Clock;
  readonly certificateAuthorities: readonly string[] | undefined;
  /** Where a host's web server is, instead of what DNS and port 443 say. */
  readonly webServerOf?: ((host: string) => string) | undefined;
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** A name that other machines cannot resolve: a server for tests. */
const isOfThisMachine = (host: string): boolean =>
  /^(localhost|127\.\d+\.\d+\.\d+|\[?::1\]?)$|\.localhost$/i.test(host);

/**
 * Checks this server as others see it: its name, its .well-known documents, its federation port, and the clock.
 *
 * All requests are made from this machine: a router without hairpin NAT makes it look worse than it is.
 */
export async function networkChecks(outside: Outside): Promise<Check[]> {
  const { config } = outside;
  const name = parseServerName(config.serverName);
  if (name === undefined) return [{ what: 'dns', ...bad(`${config.serverName} is no server name`) }];
  if (isOfThisMachine(name.host)) {
    const text = `${config.serverName} is a name for this machine alone: no other server will reach it`;
    return [
      { what: 'dns', ...note(text) },
      { what: 'clock', ...(await clock(outside)) },
    ];
  }
  const checks: Check[] = [{ what: 'well-known client', ...(await wellKnownClient(outside, name.host)) }];
  if (!config.federation.enabled) return [...checks, { what: 'clock', ...(await clock(outside)) }];
  checks.push({ what: 'well-known server', ...(await wellKnownServer(outside, name.host)) });
  const names = new NameResolver({ clock: outside.clock, nameServers: config.dns.nameServers });
  const places = await placesOf(outside, names);
  checks.push({ what: 'dns', ...(await addresses(places, names)) });
  for (const place of places.slice(0, 4)) checks.push({ what: 'federation port', ...(await port(outside, place)) });
  return [...checks, { what: 'clock', ...(await clock(outside)) }];
}

async function placesOf(
  { certificateAuthorities, clock, config }: Outside,
  names: NameResolver,
): Promise<readonly DestinationPlace[]> {
  const http = new OutboundHttp({
    guard: new AddressGuard({ deny: [], allow: [] }),
    timers: systemTimers,
    userAgent: 'Tsudoi doctor',
    certificateAuthorities,
    resolve: names.addresses,
  });
  try {
    const discovery = new ServerDiscovery({
      staticHosts: config.federation.staticHosts,
      wellKnown: new WellKnownServers({ http, clock, resolve: names.addresses }),
      records: new ServiceRecords({ clock, random: systemRandom, resolve: (name) => names.services(name) }),
    });
    return await discovery.find(config.serverName);
  } finally {
    await http.close();
  }
}

async function addresses(places: readonly DestinationPlace[], names: NameResolver): Promise<Finding> {
  if (places.length === 0)
    return bad('the SRV records say that there is no server here: delete the one whose target is a dot');
  const found: string[] = [];
  for (const { host } of places) {
    try {
      const known = await names.addresses(host);
      found.push(`${host} is ${known.map(({ address }) => address).join(', ')}`);
    } catch {
      return bad(`${host} has no address: make an A or AAAA record for it, or name another host in well_known.server`);
    }
  }
  return ok(found.join('; '));
}

async function document(outside: Outside, host: string, path: string): Promise<Answered | string> {
  const url = `https://${host}/.well-known/matrix/${path}`;
  const { certificateAuthorities, webServerOf } = outside;
  try {
    const at = webServerOf === undefined ? url : `https://${webServerOf(host)}/.well-known/matrix/${path}`;
    return await ask({ url: at, hostHeader: host, tlsName: host, certificateAuthorities });
  } catch (error) {
    return `${url} cannot be read: ${messageOf(error)}`;
  }
}

const jsonIn = ({ body }: Answered): Record<string, unknown> | undefined => {
  try {
    const parsed: unknown = JSON.parse(body);
    return typeof parsed === 'object' && parsed !== null ? (parsed as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
};

async function wellKnownClient(outside: Outside, host: string): Promise<Finding> {
  const { publicBaseUrl } = outside.config;
  const answered = await document(outside, host, 'client');
  if (typeof answered === 'string') return note(`${answered}; users have to type in the server's address then`);
  if (answered.status === 404)
    return note(
      'there is no .well-known/matrix/client: users have to type in the server’s address. Let the web server pass the path on',
    );
  const base = (jsonIn(answered)?.['m.homeserver'] as { base_url?: unknown } | undefined)?.base_url;
  if (answered.status !== 200 || typeof base !== 'string')
    return bad(
      `.well-known/matrix/client answers ${answered.status} without m.homeserver: pass the path on to this server`,
    );
  if (answered.headers['access-control-allow-origin'] !== '*')
    return bad(
      '.well-known/matrix/client comes without Access-Control-Allow-Origin: *, so that no web client can read it',
    );
  const wanted = publicBaseUrl?.replace(/\/+$/, '');
  return wanted !== undefined && base.replace(/\/+$/, '') !== wanted
    ? bad(`.well-known/matrix/client sends clients to ${base}, and public_base_url is ${wanted}: one of them is wrong`)
    : ok(`clients are sent to ${base}`);
}

async function wellKnownServer(outside: Outside, host: string): Promise<Finding> {
  const wanted = outside.config.wellKnown.server;
  const answered = await document(outside, host, 'server');
  if (typeof answered === 'string')
    return wanted === null ? note(`${answered}; other servers look for port 8448 then`) : bad(answered);
  if (answered.status === 404)
    return wanted === null
      ? ok('there is none: other servers look for SRV records, and for port 8448')
      : bad(
          `.well-known/matrix/server is not found, and well_known.server is ${wanted}: pass the path on to this server`,
        );
  const found = jsonIn(answered)?.['m.server'];
  if (answered.status !== 200 || typeof found !== 'string')
    return bad(
      `.well-known/matrix/server answers ${answered.status} without m.server: pass the path on to this server`,
    );
  return wanted !== null && found !== wanted
    ? bad(`.well-known/matrix/server says ${found}, and well_known.server is ${wanted}: one of them is wrong`)
    : ok(`other servers are sent to ${found}`);
}

async function port(outside: Outside, place: DestinationPlace): Promise<Finding> {
  const { certificateAuthorities, clock: now, config } = outside;
  const at = textOfPlace(place);
  let answered: Answered;
  try {
    const { hostHeader, tlsName } = place;
    const url = `https://${at}/_matrix/key/v2/server`;
    answered = await ask({ url, hostHeader, tlsName, certificateAuthorities });
  } catch (error) {
    return bad(
      `other servers look for this one at ${at}, and it cannot be reached there from this machine: ${messageOf(error)}`,
    );
  }
  const name = jsonIn(answered)?.['server_name'];
  if (answered.status !== 200 || typeof name !== 'string')
    return bad(`${at} answers ${answered.status} and not what a homeserver says: pass /_matrix on to this server`);
  if (name !== config.serverName) return bad(`at ${at} is the server ${name}, and not ${config.serverName}`);
  const days = Math.floor(((answered.certificateUntil ?? 0) - now.now()) / DAY_MS);
  return days < 7
    ? bad(`${at} answers with a certificate that expires in ${days} days: renew it, and send the server SIGHUP`)
    : ok(`${at} answers, with a certificate for ${days} days more`);
}

/** Compares the clock with those of the key servers that are configured: with a wrong clock, keys and certificates seem to have expired. */
async function clock({ certificateAuthorities, clock: own, config }: Outside): Promise<Finding> {
  const { keyServers, staticHosts } = config.federation;
  const asked = keyServers.map((server) => staticHosts[server] ?? server);
  for (const host of asked) {
    try {
      const { headers } = await ask({ url: `https://${host}/_matrix/key/v2/server`, certificateAuthorities });
      const theirs = Date.parse(String(headers['date']));
      if (Number.isNaN(theirs)) continue;
      const skew = own.now() - theirs;
      const seconds = Math.round(Math.abs(skew) / 1_000);
      return Math.abs(skew) <= SKEW_MS
        ? ok(`as ${host} has it, to ${Math.max(1, seconds)} s`)
        : bad(`${seconds} s ${skew > 0 ? 'ahead of' : 'behind'} that of ${host}: let the machine set its clock by NTP`);
    } catch {
      // The next one may be reached.
    }
  }
  return note(
    asked.length === 0
      ? 'not compared: federation.key_servers names nobody to compare it with'
      : `not compared: none of ${asked.join(', ')} can be reached`,
  );
}
