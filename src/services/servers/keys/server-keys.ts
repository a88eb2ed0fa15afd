import { LRUCache } from 'lru-cache';
import { CountedCache } from '#src/kernel/caches/counted-cache.ts';
import type { Clock } from '#src/kernel/clock.ts';
import { Gate } from '#src/kernel/limits/gate.ts';
import type { Logger } from '#src/kernel/logger.ts';
import type { Counter, Metrics } from '#src/kernel/metrics.ts';
import { OnceByKey } from '#src/kernel/caches/once.ts';
import { canonicalJson } from '#src/protocol/json/canonical-json.ts';
import { isJsonObject, type JsonObject } from '#src/protocol/json/json-value.ts';
import { signaturesOf, verifyJson } from '#src/protocol/signing/json-signatures.ts';
import {
  isVerifyKeyId,
  MAX_VALIDITY_MS,
  type PublishedKey,
  readPublishedKeys,
} from '#src/protocol/signing/server-keys.ts';
import type { VerifyKey } from '#src/protocol/signing/signing-key.ts';
import type { FederationClient, FederationResult } from '#src/remote/federation/federation-client.ts';
import type { Database } from '#src/storage/database.ts';
import {
  readServerKeyAnswers,
  readServerKeys,
  saveServerKeys,
  type ServerKeyRow,
} from '#src/storage/servers/server-key-rows.ts';
import type { OwnKeys } from './own-keys.ts';

/** A key that is wanted to verify a signature. */
export interface WantedKey {
  readonly serverName: string;
  readonly keyId: string;
  /** Milliseconds since the epoch at which it has to be valid; 0 for a key of any time. */
  readonly validAt: number;
}

export interface ServerKeysOptions {
  readonly database: Database;
  readonly client: Pick<FederationClient, 'request'>;
  readonly own: OwnKeys;
  /** Whether this server federates with that one. */
  readonly allows: (serverName: string) => boolean;
  /** Servers that are asked for keys of servers that do not answer themselves. */
  readonly notaries: readonly string[];
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** What is known of a server's keys. */
interface KnownServer {
  readonly keys: ReadonlyMap<string, KnownKey>;
  /** When it was last asked and answered, in milliseconds since the epoch; 0: never. */
  readonly fetchedAt: number;
}

type KnownKey = PublishedKey & { readonly fetchedAt: number };

/** Servers and keys in memory. */
const MAX_SERVERS = 40_000;
/** Keys that are kept of one server. */
const MAX_KEYS_PER_SERVER = 64;
/** An answer that is longer is not even read. */
const MAX_ANSWER_BYTES = 65_536;
/** Servers that are asked at the same time, and that wait to be. */
const AT_ONCE = 64;
const MAX_WAITING = 2_000;
/** A server that has answered is not asked again sooner, whatever keys are wanted of it. */
const MIN_PAUSE_MS = 10_000;
/** One that has not is not asked again sooner; the pause doubles. */
const FIRST_FAILURE_PAUSE_MS = 30_000;
const MAX_FAILURE_PAUSE_MS = 3_600_000;
const MAX_FAILURES = 20_000;
const TIMEOUTS = { headersMs: 10_000, bodyMs: 5_000, totalMs: 20_000 };
const NOBODY: KnownServer = { keys: new Map(), fetchedAt: 0 };

/**
 * Keys of other servers: in memory, in the database, from the servers themselves, and from notaries. Requests for the same keys wait
 * for one request. Server-Server API, "Retrieving server keys".
 */
export class ServerKeys {
  readonly #options: ServerKeysOptions;
  readonly #known = new CountedCache<string, KnownServer>(
    'server_keys',
    {
      maxSize: MAX_SERVERS,
      sizeCalculation: ({ keys }) => 1 + keys.size,
    },
    'parts',
  );
  readonly #failures = new LRUCache<string, { readonly count: number; readonly until: number }>({
    maxSize: MAX_FAILURES,
    sizeCalculation: () => 1,
  });
  readonly #readings = new OnceByKey<string, KnownServer>();
  readonly #fetches = new OnceByKey<string, KnownServer>();
  readonly #gate = new Gate(AT_ONCE);
  readonly #outcomes: Counter;

  constructor(options: ServerKeysOptions) {
    this.#options = options;
    this.#outcomes = options.metrics.counter(
      'tsudoi_server_key_fetches_total',
      'Requests for keys of other servers, by how they end.',
      ['outcome'],
    );
  }

  /**
   * The keys, in the order in which they are wanted; undefined for those that cannot be had, or were not valid then. Never rejects for another server's fault.
   *
   * @param atOnce servers that are asked at the same time
   */
  keysOf(wanted: readonly WantedKey[], atOnce = AT_ONCE): Promise<(VerifyKey | undefined)[]> {
    return this.#lookUp(wanted, this.#options.notaries, atOnce);
  }

  async #lookUp(
    wanted: readonly WantedKey[],
    notaries: readonly string[],
    atOnce = AT_ONCE,
  ): Promise<(VerifyKey | undefined)[]> {
    const share = new Gate(atOnce);
    const byServer = Map.groupBy(wanted, ({ serverName }) => serverName);
    const servers = new Map<string, KnownServer>();
    await this.#load([...byServer.keys()], servers);
    await Promise.all(
      [...byServer].map(async ([serverName, keys]) => {
        if (serverName === this.#options.own.serverName) return;
        const known = servers.get(serverName) ?? NOBODY;
        const missing = keys.filter((key) => isVerifyKeyId(key.keyId) && goodKey(known, key) === undefined);
        if (missing.length > 0)
          servers.set(serverName, await share.run(() => this.#fetchFor(serverName, known, missing, notaries)));
        else this.#refreshEarly(serverName, known);
      }),
    );
    return wanted.map((key) =>
      key.serverName === this.#options.own.serverName
        ? this.#options.own.verifyKey(key.keyId, key.validAt)
        : goodKey(servers.get(key.serverName) ?? NOBODY, key),
    );
  }

  /** Whether one of the keys is known, without asking another server. */
  async isOneKnown(wanted: readonly WantedKey[]): Promise<boolean> {
    const servers = new Map<string, KnownServer>();
    await this.#load([...new Set(wanted.map(({ serverName }) => serverName))], servers);
    return wanted.some((key) => goodKey(servers.get(key.serverName) ?? NOBODY, key) !== undefined);
  }

  /**
   * A server's last answer about each of its keys, for the notary: requested again when a key is wanted that is not known, or not
   * valid for long enough. Answers are canonical JSON.
   *
   * @param wanted until when each key should be valid, by key id; empty: all keys, until `validAt`
   * @param mayAsk whether the server may be asked on behalf of the client
   */
  async answersOf(
    serverName: string,
    wanted: ReadonlyMap<string, number>,
    validAt: number,
    mayAsk: () => boolean,
  ): Promise<JsonObject[]> {
    const { database } = this.#options;
    const servers = new Map<string, KnownServer>();
    await this.#load([serverName], servers);
    const known = servers.get(serverName) ?? NOBODY;
    const current = [...known.keys.values()].filter(({ isOld }) => !isOld);
    const isEnough =
      wanted.size === 0
        ? current.some((key) => key.validUntil >= validAt)
        : [...wanted].every(([keyId, until]) => {
            const key = known.keys.get(keyId);
            return key !== undefined && (key.isOld || key.validUntil >= until);
          });
    if ((!isEnough || this.#isHalfOver(known)) && this.#mayFetch(serverName, known) && mayAsk())
      await this.#fetch(serverName, known);
    const rows = await readServerKeyAnswers(database, [serverName]);
    const told = rows.filter(({ keyId }) => wanted.size === 0 || wanted.has(keyId));
    return [...new Set(told.map(({ answer }) => answer))].map((answer) => JSON.parse(answer) as JsonObject);
  }

  async #load(serverNames: readonly string[], into: Map<string, KnownServer>): Promise<void> {
    const missing: string[] = [];
    for (const serverName of serverNames) {
      const known = this.#known.get(serverName);
      if (known !== undefined) into.set(serverName, known);
      else missing.push(serverName);
    }
    if (missing.length === 0) return;
    if (missing.length === 1 && missing[0] !== undefined) {
      const [name] = missing;
      into.set(name, await this.#readings.run(name, async () => (await this.#read([name])).get(name) ?? NOBODY));
      return;
    }
    for (const [name, known] of await this.#read(missing)) into.set(name, known);
  }

  async #read(serverNames: readonly string[]): Promise<ReadonlyMap<string, KnownServer>> {
    const rows = await readServerKeys(this.#options.database, serverNames);
    const byServer = Map.groupBy(rows, ({ serverName }) => serverName);
    const found = new Map<string, KnownServer>();
    for (const [name, own] of byServer) {
      // What was fetched meanwhile is newer.
      const known = this.#known.peek(name) ?? knownOf(own);
      this.#known.set(name, known);
      found.set(name, known);
    }
    return found;
  }

  /** Asks for keys that are not known, or were not valid at the time, if it is worth asking. */
  async #fetchFor(
    serverName: string,
    known: KnownServer,
    missing: readonly WantedKey[],
    notaries: readonly string[],
  ): Promise<KnownServer> {
    const now = this.#options.clock.now();
    // A key is never valid for longer.
    const isWorth = missing.some(({ keyId, validAt }) => {
      if (validAt > now + MAX_VALIDITY_MS) return false;
      const key = known.keys.get(keyId);
      // An old key does not become valid again.
      return key === undefined || !key.isOld;
    });
    if (!isWorth) return known;
    const fetched = await this.#fetch(serverName, known);
    const left = missing.filter((key) => goodKey(fetched, key) === undefined);
    return left.length === 0 ? fetched : this.#askNotaries(notaries, serverName, fetched, left);
  }

  /** Asks the server for its keys of today, unless it was asked of late. */
  #fetch(serverName: string, known: KnownServer): Promise<KnownServer> {
    const latest = this.#known.peek(serverName) ?? known;
    if (!this.#mayFetch(serverName, latest)) return Promise.resolve(latest);
    return this.#fetches.run(serverName, () => {
      if (this.#gate.waiting >= MAX_WAITING) return Promise.resolve(latest);
      return this.#gate.run(async () => (await this.#fetchNow(serverName)) ?? this.#known.peek(serverName) ?? known);
    });
  }

  #mayFetch(serverName: string, { fetchedAt }: KnownServer): boolean {
    const { allows, clock } = this.#options;
    const now = clock.now();
    const isAskedOfLate = now >= fetchedAt && now - fetchedAt < MIN_PAUSE_MS;
    const isAway = now < (this.#failures.get(serverName)?.until ?? 0);
    return !isAskedOfLate && !isAway && allows(serverName);
  }

  async #fetchNow(serverName: string): Promise<KnownServer | undefined> {
    const { client, logger } = this.#options;
    const answer = await client.request({
      destination: serverName,
      method: 'GET',
      path: '/_matrix/key/v2/server',
      isSigned: false,
      isUrgent: true,
      maxBodyBytes: MAX_ANSWER_BYTES,
      timeouts: TIMEOUTS,
    });
    const taken = answer.ok ? await this.#take(serverName, answer.body) : answer.error;
    if (typeof taken !== 'string') {
      this.#failures.delete(serverName);
      this.#outcomes.inc({ outcome: 'ok' });
      return taken;
    }
    this.#outcomes.inc({ outcome: answer.ok ? 'bad_answer' : answer.kind });
    // A server that was not even asked, so soon after an outage, may be back already, and with a new key.
    if (!answer.ok && answer.status === undefined && answer.retryAfterMs !== undefined) return undefined;
    this.#failed(serverName);
    logger.info('the keys of a server could not be fetched', { server: serverName, reason: taken });
    return undefined;
  }

  #failed(serverName: string): void {
    const count = (this.#failures.get(serverName)?.count ?? 0) + 1;
    const pause = Math.min(MAX_FAILURE_PAUSE_MS, FIRST_FAILURE_PAUSE_MS * 2 ** (count - 1));
    this.#failures.set(serverName, { count, until: this.#options.clock.now() + pause });
  }

  /** The server has shown that it is there: it may be asked again. */
  heardOf(serverName: string): void {
    this.#failures.delete(serverName);
  }

  /** Stores the keys of an answer. @returns why it is refused, or all that is known now */
  async #take(serverName: string, answer: JsonObject, isFromNotary = false): Promise<KnownServer | string> {
    const { clock, database } = this.#options;
    const now = clock.now();
    const published = readPublishedKeys(answer, serverName, now);
    if (!published.ok) return published.reason;
    const text = canonicalJson(answer, 'lenient');
    const before = (this.#known.peek(serverName) ?? (await this.#read([serverName])).get(serverName) ?? NOBODY).keys;
    const keys = new Map(before);
    const fresh = published.keys.filter((key) => {
      const known = before.get(key.keyId);
      return isBetter(known, key, now) && !(isFromNotary && known !== undefined && !isSameKey(known, key));
    });
    for (const key of fresh) keys.set(key.keyId, { ...key, fetchedAt: now });
    const best = [...keys.values()].sort((a, b) => b.validUntil - a.validUntil).slice(0, MAX_KEYS_PER_SERVER);
    const known: KnownServer = { keys: new Map(best.map((key) => [key.keyId, key])), fetchedAt: now };
    if (fresh.length > 0) {
      await saveServerKeys(
        database,
        serverName,
        fresh.map(({ isOld, keyId, validUntil, verifyKey }) => ({
          keyId,
          key: Buffer.from(verifyKey.bytes),
          validUntil,
          isOld,
        })),
        { answer: text, fetchedAt: now, most: MAX_KEYS_PER_SERVER },
      );
    }
    this.#known.set(serverName, known);
    return known;
  }

  /** Asks notaries, one after the other, for keys that a server did not tell. */
  async #askNotaries(
    notaries: readonly string[],
    serverName: string,
    known: KnownServer,
    wanted: readonly WantedKey[],
  ): Promise<KnownServer> {
    const { client } = this.#options;
    let latest = known;
    for (const notary of notaries) {
      if (notary === serverName || notary === this.#options.own.serverName) continue;
      const left = wanted.filter((key) => goodKey(latest, key) === undefined);
      if (left.length === 0) break;
      const criteria = Object.fromEntries(
        left.map(({ keyId, validAt }) => [keyId, { minimum_valid_until_ts: validAt }]),
      );
      const answer = await this.#fetches.run(`${notary} ${serverName}`, async () => {
        const result = await client.request({
          destination: notary,
          method: 'POST',
          path: '/_matrix/key/v2/query',
          content: { server_keys: { [serverName]: criteria } },
          maxBodyBytes: MAX_ANSWER_BYTES * 4,
          timeouts: TIMEOUTS,
        });
        await this.#takeFromNotary(notary, serverName, result);
        return this.#known.peek(serverName) ?? known;
      });
      latest = answer;
    }
    return latest;
  }

  /** Accepts an answer of a notary that it has signed, about the server that was asked for, if that server has signed it too. */
  async #takeFromNotary(notary: string, serverName: string, result: FederationResult): Promise<void> {
    const { logger } = this.#options;
    const told = result.ok ? result.body['server_keys'] : undefined;
    if (!Array.isArray(told)) {
      this.#outcomes.inc({ outcome: 'notary_failed' });
      return;
    }
    for (const answer of told.slice(0, MAX_ANSWERS)) {
      if (!isJsonObject(answer) || answer['server_name'] !== serverName) continue;
      const taken = (await this.#isSignedBy(notary, answer))
        ? await this.#take(serverName, answer, true)
        : 'it is not signed by the notary';
      this.#outcomes.inc({ outcome: typeof taken === 'string' ? 'notary_bad_answer' : 'notary_ok' });
      if (typeof taken === 'string')
        logger.info('the answer of a notary was refused', { notary, server: serverName, reason: taken });
    }
  }

  async #isSignedBy(notary: string, answer: JsonObject): Promise<boolean> {
    const ids = [...signaturesOf(answer, notary).keys()].slice(0, MAX_ANSWERS);
    const validAt = this.#options.clock.now();
    // A notary's own keys are not accepted from another notary.
    const keys = await this.#lookUp(
      ids.map((keyId) => ({ serverName: notary, keyId, validAt })),
      [],
    );
    return ids.some((keyId, index) => {
      const key = keys[index];
      return key !== undefined && verifyJson(answer, notary, keyId, key, 'lenient');
    });
  }

  /** Keys in use are renewed before they expire, in the background. */
  #refreshEarly(serverName: string, known: KnownServer): void {
    // Keys that could not be renewed are asked for when they are needed.
    if (this.#isHalfOver(known)) void this.#fetch(serverName, known).catch(() => undefined);
  }

  /** "Intermediate notary servers should cache a response for half of its lifetime to avoid serving a stale response." */
  #isHalfOver({ fetchedAt, keys }: KnownServer): boolean {
    const now = this.#options.clock.now();
    const ends = [...keys.values()].filter(({ isOld }) => !isOld).map(({ validUntil }) => validUntil);
    return ends.length > 0 && now > fetchedAt + (Math.min(...ends) - fetchedAt) / 2;
  }
}

const MAX_ANSWERS = 8;

const goodKey = ({ keys }: KnownServer, { keyId, validAt }: WantedKey): VerifyKey | undefined => {
  const key = keys.get(keyId);
  return key !== undefined && key.validUntil >= validAt ? key.verifyKey : undefined;
};

/** Whether an answer about a key replaces an earlier one: a better one is kept. */
const isBetter = (before: KnownKey | undefined, key: PublishedKey, now: number): boolean =>
  before === undefined ||
  // A key that was retired stays so: it would be good for less time than was said, if for more.
  key.validUntil >= before.validUntil ||
  (key.isOld && !before.isOld) ||
  before.validUntil < now;

/** Only the server itself can replace a key by another one. */
const isSameKey = (a: PublishedKey, b: PublishedKey): boolean =>
  Buffer.compare(a.verifyKey.bytes, b.verifyKey.bytes) === 0;

const knownOf = (rows: readonly ServerKeyRow[]): KnownServer => ({
  keys: new Map(
    rows.map(({ fetchedAt, isOld, key, keyId, validUntil }) => [
      keyId,
      { keyId, verifyKey: { bytes: Uint8Array.from(key) }, validUntil, isOld, fetchedAt },
    ]),
  ),
  fetchedAt: Math.max(...rows.map(({ fetchedAt }) => fetchedAt)),
});
