import { LRUCache } from 'lru-cache';
import type { Clock } from '#src/kernel/clock.ts';
import { FairGate } from '#src/kernel/limits/fair-gate.ts';
import { Gate } from '#src/kernel/limits/gate.ts';
import type { Logger } from '#src/kernel/logger.ts';
import type { Counter, Metrics } from '#src/kernel/metrics.ts';
import { OnceByKey } from '#src/kernel/caches/once.ts';
import { isJsonObject, type JsonObject } from '#src/protocol/json/json-value.ts';
import { signaturesOf, verifyJson } from '#src/protocol/signing/json-signatures.ts';
import { isVerifyKeyId, MAX_VALIDITY_MS } from '#src/protocol/signing/server-keys.ts';
import type { VerifyKey } from '#src/protocol/signing/signing-key.ts';
import type { FederationClient } from '#src/remote/federation/federation-client.ts';
import type { FederationResult } from '#src/remote/federation/federation-result.ts';
import type { Database } from '#src/storage/database.ts';
import type { Subscribable } from '#src/kernel/signal.ts';
import { goodKey, isHalfOver, type KnownServer, KnownServerKeys, NO_KEYS } from './known-server-keys.ts';
import type { OwnKeys } from './own-keys.ts';

/** A key that is wanted to verify a signature. */
export interface WantedKey {
  readonly serverName: string;
  readonly keyId: string;
  /** Milliseconds since the epoch at which it has to be valid; 0 for a key of any time. */
  readonly validAt: number;
}

/** In whose name other servers are asked for their keys. */
export interface KeyAsking {
  /** Who takes turns with others: the network of a request, or the server that sent events. */
  readonly party: string;
  /** Servers that are asked at the same time; as many as a party may have asked when left out. */
  readonly atOnce?: number;
}

/** What this server itself asks for: keys for answers that it wanted. */
export const OWN_ASKING: KeyAsking = { party: 'this server' };

export interface ServerKeysOptions {
  readonly database: Database;
  readonly client: Pick<FederationClient, 'request'>;
  readonly own: OwnKeys;
  /** Whether this server federates with that one. */
  readonly allows: (serverName: string) => boolean;
  /** Servers that are asked for keys of servers that do not answer themselves. */
  readonly notaries: readonly string[];
  /** Servers that were heard of: they may be asked again. */
  readonly contacts: Subscribable<string>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** An answer that is longer is not even read. */
const MAX_ANSWER_BYTES = 65_536;
/** Servers that are asked at the same time, in all and for one party, and that may wait for one: many may be silent until their time is over. */
export const CONCURRENCY = 64;
export const CONCURRENCY_OF_ONE = 32;
export const MAX_WAITING = 2_000;
/** A server that has answered is not asked again sooner, whatever keys are wanted of it. */
const MIN_PAUSE_MS = 10_000;
/** One that has not is not asked again sooner; the pause doubles. */
const FIRST_FAILURE_PAUSE_MS = 30_000;
const MAX_FAILURE_PAUSE_MS = 3_600_000;
const MAX_FAILURES = 20_000;
const TIMEOUTS = { headersMs: 10_000, bodyMs: 5_000, totalMs: 20_000 };

/**
 * Keys of other servers: in memory, in the database, from the servers themselves, and from notaries. Requests for the same keys wait
 * for one request. Server-Server API, "Retrieving server keys".
 */
export class ServerKeys {
  readonly #options: ServerKeysOptions;
  readonly #known: KnownServerKeys;
  readonly #failures = new LRUCache<string, { readonly count: number; readonly until: number }>({
    maxSize: MAX_FAILURES,
    sizeCalculation: () => 1,
  });
  readonly #fetches = new OnceByKey<string, KnownServer>();
  /** Those that wait in the line of a party: `<party> <server>`. */
  readonly #waiting = new OnceByKey<string, KnownServer>();
  readonly #gate = new FairGate({
    concurrency: CONCURRENCY,
    concurrencyOfOne: CONCURRENCY_OF_ONE,
    maxWaiting: MAX_WAITING,
  });
  readonly #outcomes: Counter;

  constructor(options: ServerKeysOptions) {
    this.#options = options;
    this.#known = new KnownServerKeys(options);
    options.contacts.subscribe((serverName) => {
      this.#failures.delete(serverName);
    });
    this.#outcomes = options.metrics.counter(
      'tsudoi_server_key_fetches_total',
      'Requests for keys of other servers, by how they end.',
      ['outcome'],
    );
  }

  /**
   * The keys, in the order in which they are wanted; undefined for those that cannot be had, or were not valid then. Never rejects for another server's fault.
   *
   */
  keysOf(wanted: readonly WantedKey[], asking = OWN_ASKING): Promise<(VerifyKey | undefined)[]> {
    return this.#lookUp(wanted, this.#options.notaries, asking);
  }

  async #lookUp(
    wanted: readonly WantedKey[],
    notaries: readonly string[],
    asking: KeyAsking,
  ): Promise<(VerifyKey | undefined)[]> {
    const share = new Gate(asking.atOnce ?? CONCURRENCY_OF_ONE);
    const byServer = Map.groupBy(wanted, ({ serverName }) => serverName);
    const servers = await this.#known.load([...byServer.keys()]);
    await Promise.all(
      [...byServer].map(async ([serverName, keys]) => {
        if (serverName === this.#options.own.serverName) return;
        const known = servers.get(serverName) ?? NO_KEYS;
        const missing = keys.filter((key) => isVerifyKeyId(key.keyId) && goodKey(known, key) === undefined);
        if (missing.length > 0)
          servers.set(serverName, await share.run(() => this.#fetchFor(serverName, known, missing, notaries, asking)));
        else this.#refreshEarly(serverName, known);
      }),
    );
    return wanted.map((key) =>
      key.serverName === this.#options.own.serverName
        ? this.#options.own.verifyKey(key.keyId, key.validAt)
        : goodKey(servers.get(key.serverName) ?? NO_KEYS, key),
    );
  }

  /** Whether one of the keys is known, without asking another server. */
  async isOneKnown(wanted: readonly WantedKey[]): Promise<boolean> {
    const servers = await this.#known.load([...new Set(wanted.map(({ serverName }) => serverName))]);
    return wanted.some((key) => goodKey(servers.get(key.serverName) ?? NO_KEYS, key) !== undefined);
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
    asking: KeyAsking,
  ): Promise<JsonObject[]> {
    const known = (await this.#known.load([serverName])).get(serverName) ?? NO_KEYS;
    const current = [...known.keys.values()].filter(({ isOld }) => !isOld);
    const isEnough =
      wanted.size === 0
        ? current.some((key) => key.validUntil >= validAt)
        : [...wanted].every(([keyId, until]) => {
            const key = known.keys.get(keyId);
            return key !== undefined && (key.isOld || key.validUntil >= until);
          });
    if ((!isEnough || isHalfOver(known, this.#options.clock.now())) && this.#mayFetch(serverName, known) && mayAsk())
      await this.#fetch(serverName, known, asking.party);
    return this.#known.answersOf(serverName, wanted);
  }

  /** Asks for keys that are not known, or were not valid at the time, if it is worth asking. */
  async #fetchFor(
    serverName: string,
    known: KnownServer,
    missing: readonly WantedKey[],
    notaries: readonly string[],
    asking: KeyAsking,
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
    const fetched = await this.#fetch(serverName, known, asking.party);
    const left = missing.filter((key) => goodKey(fetched, key) === undefined);
    return left.length === 0 ? fetched : this.#askNotaries(notaries, serverName, fetched, left);
  }

  /**
   * Asks the server for its keys of today, unless it was asked of late. Parties take turns: who names many servers that do not answer keeps
   * nobody else's from being asked, not even where both name the same.
   */
  #fetch(serverName: string, known: KnownServer, party: string): Promise<KnownServer> {
    const latest = this.#known.peek(serverName) ?? known;
    if (!this.#mayFetch(serverName, latest)) return Promise.resolve(latest);
    return this.#waiting.run(`${party} ${serverName}`, () =>
      this.#gate
        .run(
          { party, isPreferred: false },
          () => this.#fetchOnce(serverName, known),
          () => new LineIsFull(),
        )
        .catch((error: unknown) => {
          if (error instanceof LineIsFull) return latest;
          throw error;
        }),
    );
  }

  /** The same when there is a place: another party may have asked meanwhile. */
  #fetchOnce(serverName: string, known: KnownServer): Promise<KnownServer> {
    const latest = this.#known.peek(serverName) ?? known;
    if (!this.#mayFetch(serverName, latest)) return Promise.resolve(latest);
    return this.#fetches.run(
      serverName,
      async () => (await this.#fetchNow(serverName)) ?? this.#known.peek(serverName) ?? known,
    );
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
    const taken = answer.ok ? await this.#known.take(serverName, answer.body) : answer.error;
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
        ? await this.#known.take(serverName, answer, true)
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
      OWN_ASKING,
    );
    return ids.some((keyId, index) => {
      const key = keys[index];
      return key !== undefined && verifyJson(answer, notary, keyId, key, 'lenient');
    });
  }

  /** Keys in use are renewed before they expire, in the background. */
  #refreshEarly(serverName: string, known: KnownServer): void {
    if (!isHalfOver(known, this.#options.clock.now())) return;
    // Keys that could not be renewed are asked for when they are needed.
    void this.#fetch(serverName, known, OWN_ASKING.party).catch(() => undefined);
  }
}

/** Too many servers wait to be asked for the same party. */
class LineIsFull extends Error {}

const MAX_ANSWERS = 8;
