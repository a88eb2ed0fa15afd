import { atMost } from '#src/kernel/caches/at-most.ts';
import { CountedCache } from '#src/kernel/caches/counted-cache.ts';
import { timeOfHttpDate } from '#src/kernel/dates.ts';
import type { Clock } from '#src/kernel/clock.ts';
import { FairGate } from '#src/kernel/limits/fair-gate.ts';
import { OnceByKey } from '#src/kernel/caches/once.ts';
import { currentWork } from '#src/kernel/event-loop/work.ts';
import { parseServerName, type ServerName } from '#src/protocol/identifiers/server-name.ts';
import { HOUR_MS, MINUTE_MS } from '#src/kernel/dates.ts';
import type { Resolve } from '../name-resolver.ts';
import type { OutboundAnswer, OutboundFailure } from '../outbound-result.ts';
import type { OutboundHttp } from '../outbound-http.ts';
import { failure } from '../outbound-result.ts';

export interface WellKnownServersOptions {
  readonly http: Pick<OutboundHttp, 'request'>;
  readonly clock: Clock;
  readonly resolve: Resolve;
  /** Instead of 443. */
  readonly port?: number | undefined;
  /** Hosts that are asked at the same time; default 128. */
  readonly concurrency?: number;
  /** Hosts that wait to be asked for one user, or for one kind of work; default 5000. */
  readonly maxWaiting?: number;
}

/** A parsed server name, with its text. */
export type WrittenName = ServerName & { readonly text: string };

interface Known {
  /** The server name to which the host delegates; undefined when it does not delegate. */
  readonly name: WrittenName | undefined;
  readonly fetchedAt: number;
  /** When it is refreshed, while the present entry is still used. */
  readonly refreshAt: number;
  readonly expiresAt: number;
  /** Successive failures. */
  readonly failures: number;
}

/** "The recommended sensible default is 24 hours. ... a maximum cache time for responses: 48 hours is recommended." */
const DEFAULT_MS = 24 * HOUR_MS;
const MAX_MS = 48 * HOUR_MS;
/** No host is asked more often, whatever its headers say. */
const MIN_MS = 5 * MINUTE_MS;
/** "Errors are recommended to be cached for up to an hour, and servers are encouraged to exponentially back off for repeated failures." */
const FIRST_ERROR_MS = 2 * MINUTE_MS;
const MAX_ERROR_MS = HOUR_MS;
/** The part of its life after which something is refreshed. */
const FRESH_PART = 0.8;
const MAX_HOSTS = 20_000;
export const MAX_BODY_BYTES = 51_200;
export const MAX_REDIRECTS = 10;
/** What many wait for behind it is a small file. */
const TIMEOUTS = { headersMs: 5_000, bodyMs: 5_000, totalMs: 10_000 };
export const CONCURRENCY = 128;
/** Hosts that are asked at the same time for one user, or for one kind of work: hosts that say nothing hold up who has asked for them. */
export const PER_PARTY = 16;
export const MAX_WAITING = 5_000;

/** Where hosts delegate Matrix to, as their `/.well-known/matrix/server` says. Server-Server API, "Resolving server names", 3. */
export class WellKnownServers {
  readonly #options: WellKnownServersOptions;
  readonly #known = new CountedCache<string, Known>('well_known_servers', atMost(MAX_HOSTS));
  readonly #asking = new OnceByKey<string, Known>();
  readonly #places: FairGate;

  constructor(options: WellKnownServersOptions) {
    this.#options = options;
    this.#places = new FairGate({
      concurrency: options.concurrency ?? CONCURRENCY,
      concurrencyOfOne: PER_PARTY,
      maxWaiting: options.maxWaiting ?? MAX_WAITING,
    });
  }

  /** The server name to which a host delegates; undefined when it does not delegate, or that cannot be found out. */
  async delegatedName(hostname: string): Promise<WrittenName | undefined> {
    const now = this.#options.clock.now();
    const known = this.#known.get(hostname);
    if (known !== undefined && now < known.expiresAt) {
      if (now >= known.refreshAt) void this.#ask(hostname, known);
      return known.name;
    }
    return (await this.#ask(hostname, known)).name;
  }

  /** The server to which the host delegates could not be reached: the delegation may have changed. */
  doubt(hostname: string): void {
    const known = this.#known.peek(hostname);
    const isOld = known !== undefined && this.#options.clock.now() - known.fetchedAt > MIN_MS;
    if (isOld && known.failures === 0) this.#known.delete(hostname);
  }

  #ask(hostname: string, known: Known | undefined): Promise<Known> {
    return this.#asking.run(hostname, async () => {
      const found = await this.#fetch(hostname, known);
      this.#known.set(hostname, found);
      return found;
    });
  }

  async #fetch(hostname: string, known: Known | undefined): Promise<Known> {
    const { clock } = this.#options;
    const response = await this.#request(hostname);
    const now = clock.now();
    const name = response.ok && response.status === 200 ? nameIn(response.body) : undefined;
    if (response.ok && name !== undefined) {
      const lifetime = lifetimeOf(response, now);
      return { name, fetchedAt: now, refreshAt: now + lifetime * FRESH_PART, expiresAt: now + lifetime, failures: 0 };
    }
    const failures = (known?.failures ?? 0) + 1;
    const pause = Math.min(MAX_ERROR_MS, FIRST_ERROR_MS * 2 ** (failures - 1));
    // A failed request does not mean that the delegation has changed.
    const isPassing = !response.ok || response.status >= 500 || response.status === 429;
    if (isPassing && known?.name !== undefined && now < known.fetchedAt + MAX_MS) {
      const expiresAt = Math.min(now + pause, known.fetchedAt + MAX_MS);
      return { ...known, refreshAt: expiresAt, expiresAt, failures };
    }
    return { name: undefined, fetchedAt: now, refreshAt: now + pause, expiresAt: now + pause, failures };
  }

  async #request(hostname: string): Promise<OutboundAnswer | OutboundFailure> {
    const { http, port, resolve } = this.#options;
    // A name that nobody can tell the address of takes none of the few places for requests.
    const isThere = await resolve(hostname).catch(() => []);
    if (isThere.length === 0) return failure('unresolved', `the address of ${hostname} could not be found`);
    const host = port === undefined ? hostname : `${hostname}:${port}`;
    return this.#inTurn(() =>
      http.request({
        method: 'GET',
        url: `https://${host}/.well-known/matrix/server`,
        headers: { accept: 'application/json' },
        maxBodyBytes: MAX_BODY_BYTES,
        maxRedirects: MAX_REDIRECTS,
        timeouts: TIMEOUTS,
      }),
    );
  }

  /** Those for whom hosts are asked take turns, and nobody has all places. */
  async #inTurn<T>(ask: () => Promise<T>): Promise<T | OutboundFailure> {
    const work = currentWork();
    const party = work?.party?.() ?? work?.name ?? '';
    const busy = failure('busy', 'this server looks for too many others already');
    const tooMany = new TooManyWaitingError();
    return this.#places
      .run<T | OutboundFailure>({ party, isPreferred: false }, ask, () => tooMany)
      .catch((error: unknown) => {
        if (error !== tooMany) throw error;
        return busy;
      });
  }
}

class TooManyWaitingError extends Error {}

const nameIn = (body: Buffer): WrittenName | undefined => {
  try {
    const said: unknown = JSON.parse(body.toString('utf8'));
    const text = typeof said === 'object' && said !== null && 'm.server' in said ? said['m.server'] : undefined;
    const name = typeof text === 'string' ? parseServerName(text) : undefined;
    return name === undefined ? undefined : { ...name, text: text as string };
  } catch {
    return undefined;
  }
};

/** Milliseconds for which a response may be used. RFC 9111, 4.2.1. */
const lifetimeOf = ({ headers }: OutboundAnswer, now: number): number => {
  const lifetimeMs = cacheLifetime(headers['cache-control'], headers['expires'], now);
  return Math.min(MAX_MS, Math.max(MIN_MS, lifetimeMs ?? DEFAULT_MS));
};

const cacheLifetime = (
  control: string | string[] | undefined,
  expires: string | string[] | undefined,
  now: number,
): number | undefined => {
  const directives = [control ?? []].flat().join(',').toLowerCase();
  if (/(^|[\s,])(no-store|no-cache)\b/.test(directives)) return 0;
  const seconds = /(?:^|[\s,])max-age\s*=\s*"?(\d{1,10})/.exec(directives)?.[1];
  if (seconds !== undefined) return Number(seconds) * 1_000;
  if (typeof expires !== 'string') return undefined;
  const until = timeOfHttpDate(expires);
  // "A cache recipient MUST interpret invalid date formats, especially the value "0", as representing a time in the past".
  return until === undefined ? 0 : until - now;
};
