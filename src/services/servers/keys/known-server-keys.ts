import type { Clock } from '#src/kernel/clock.ts';
import { CountedCache } from '#src/kernel/caches/counted-cache.ts';
import { OnceByKey } from '#src/kernel/caches/once.ts';
import { canonicalJson } from '#src/protocol/json/canonical-json.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { type PublishedKey, readPublishedKeys } from '#src/protocol/signing/server-keys.ts';
import type { VerifyKey } from '#src/protocol/signing/signing-key.ts';
import type { Database } from '#src/storage/database.ts';
import {
  readServerKeyAnswers,
  readServerKeys,
  saveServerKeys,
  type ServerKeyRow,
} from '#src/storage/servers/server-key-rows.ts';

/** What is known of a server's keys. */
export interface KnownServer {
  readonly keys: ReadonlyMap<string, KnownKey>;
  /** When it was last asked and answered, in milliseconds since the epoch; 0: never. */
  readonly fetchedAt: number;
}

type KnownKey = PublishedKey & { readonly fetchedAt: number };

/** Servers and keys in memory. */
export const MAX_SERVERS = 40_000;
/** Keys that are kept of one server. */
export const MAX_KEYS_PER_SERVER = 64;
export const NO_KEYS: KnownServer = { keys: new Map(), fetchedAt: 0 };

export interface KnownServerKeysOptions {
  readonly database: Database;
  readonly clock: Clock;
}

/**
 * Keys that other servers have published, as far as they are known: in memory and in the database. Nothing is asked of another server
 * here; what one has answered is checked and stored.
 */
export class KnownServerKeys {
  readonly #options: KnownServerKeysOptions;
  readonly #cache = new CountedCache<string, KnownServer>(
    'server_keys',
    {
      maxSize: MAX_SERVERS,
      sizeCalculation: ({ keys }) => 1 + keys.size,
    },
    'parts',
  );
  readonly #readings = new OnceByKey<string, KnownServer>();

  constructor(options: KnownServerKeysOptions) {
    this.#options = options;
  }

  /** What is in memory of a server. */
  peek(serverName: string): KnownServer | undefined {
    return this.#cache.peek(serverName);
  }

  /** What is known of servers, from memory or the database. Servers of which nothing is known may be left out. */
  async load(serverNames: readonly string[]): Promise<Map<string, KnownServer>> {
    const servers = new Map<string, KnownServer>();
    const missing: string[] = [];
    for (const serverName of serverNames) {
      const known = this.#cache.get(serverName);
      if (known !== undefined) servers.set(serverName, known);
      else missing.push(serverName);
    }
    if (missing.length === 0) return servers;
    if (missing.length === 1 && missing[0] !== undefined) {
      const [name] = missing;
      servers.set(name, await this.#readings.run(name, async () => (await this.#read([name])).get(name) ?? NO_KEYS));
      return servers;
    }
    for (const [name, known] of await this.#read(missing)) servers.set(name, known);
    return servers;
  }

  async #read(serverNames: readonly string[]): Promise<ReadonlyMap<string, KnownServer>> {
    const rows = await readServerKeys(this.#options.database, serverNames);
    const byServer = Map.groupBy(rows, ({ serverName }) => serverName);
    const found = new Map<string, KnownServer>();
    for (const [name, own] of byServer) {
      // What was fetched meanwhile is newer.
      const known = this.#cache.peek(name) ?? knownOf(own);
      this.#cache.set(name, known);
      found.set(name, known);
    }
    return found;
  }

  /** A server's last answer about each of these keys; none: about all. */
  async answersOf(serverName: string, keyIds: ReadonlyMap<string, unknown>): Promise<JsonObject[]> {
    const rows = await readServerKeyAnswers(this.#options.database, [serverName]);
    const told = rows.filter(({ keyId }) => keyIds.size === 0 || keyIds.has(keyId));
    return [...new Set(told.map(({ answer }) => answer))].map((answer) => JSON.parse(answer) as JsonObject);
  }

  /** Stores the keys of an answer. @returns why it is refused, or all that is known now */
  async take(serverName: string, answer: JsonObject, isFromNotary = false): Promise<KnownServer | string> {
    const { clock, database } = this.#options;
    const now = clock.now();
    const published = readPublishedKeys(answer, serverName, now);
    if (!published.ok) return published.reason;
    const text = canonicalJson(answer, 'lenient');
    const before = (this.#cache.peek(serverName) ?? (await this.#read([serverName])).get(serverName) ?? NO_KEYS).keys;
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
    this.#cache.set(serverName, known);
    return known;
  }
}

/** A key that was valid at a time, in milliseconds since the epoch. */
export const goodKey = (
  { keys }: KnownServer,
  { keyId, validAt }: { readonly keyId: string; readonly validAt: number },
): VerifyKey | undefined => {
  const key = keys.get(keyId);
  return key !== undefined && key.validUntil >= validAt ? key.verifyKey : undefined;
};

/** "Intermediate notary servers should cache a response for half of its lifetime to avoid serving a stale response." */
export const isHalfOver = ({ fetchedAt, keys }: KnownServer, now: number): boolean => {
  const ends = [...keys.values()].filter(({ isOld }) => !isOld).map(({ validUntil }) => validUntil);
  return ends.length > 0 && now > fetchedAt + (Math.min(...ends) - fetchedAt) / 2;
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
