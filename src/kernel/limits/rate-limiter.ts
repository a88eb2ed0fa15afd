import { createHash } from 'node:crypto';
import type { Clock } from '#src/kernel/clock.ts';

/** One group of limits: `burst` at once, then `perSecond` on average. */
export interface RateLimit {
  readonly perSecond: number;
  readonly burst: number;
}

export interface RateLimiterOptions {
  readonly enabled: boolean;
  /** Groups by name. A bucket without a group of its own takes `default`; without that it is not limited. */
  readonly buckets: Readonly<Record<string, RateLimit>>;
  /** Keys remembered at once in each bucket. Beyond it the least recently used is forgotten. */
  readonly maxKeys?: number;
}

export type RateVerdict = { readonly ok: true } | { readonly ok: false; readonly retryAfterMs: number };

export interface RateLimiter {
  /**
   * Takes tokens for `key` (a user id, a network) out of `bucket`; one, if not said otherwise. More than the bucket holds are taken when
   * it is full.
   *
   * @returns when there are not enough, the milliseconds until there will be; asking in vain costs nothing
   */
  take(bucket: string, key: string, tokens?: number): RateVerdict;
  /** Whether a token could be taken. */
  check(bucket: string, key: string): RateVerdict;
  /** How much of its bucket a key has used up: 0 for nothing, 1 for all of it, up to 2 for what it owes. */
  used(bucket: string, key: string): number;
  /** Takes tokens that were spent already. What is not there the key owes, up to what its bucket holds. */
  charge(bucket: string, key: string, tokens: number): void;
  /** Puts tokens back that were taken, and turned out not to be owed. */
  refund(bucket: string, key: string, tokens?: number): void;
  /** Gives a key a limit of its own in a bucket; undefined takes it away again. The key begins with a full one. */
  setOwn(bucket: string, key: string, limit: RateLimit | undefined): void;
}

const OK: RateVerdict = { ok: true };
const DEFAULT_MAX_KEYS = 100_000;
const SWEEP_PER_TAKE = 2;
/** Longer keys, which clients make up, are remembered by their hash. */
const MAX_KEY_LENGTH = 320;
/** A thousandth of a millisecond. */
const SLACK_MS = 0.001;

/** The keys of one group. Of each is remembered when its bucket will be full again, in monotonic milliseconds. */
class Bucket {
  readonly msPerToken: number;
  /** Milliseconds in which an empty bucket becomes full. */
  readonly spanMs: number;
  /** In order of last use. */
  readonly fullAt = new Map<string, number>();

  constructor(limit: RateLimit) {
    this.msPerToken = 1000 / limit.perSecond;
    this.spanMs = limit.burst * this.msPerToken;
  }

  set(key: string, fullAt: number, maxKeys: number): void {
    if (!this.fullAt.delete(key) && this.fullAt.size >= maxKeys) {
      for (const oldest of this.fullAt.keys()) {
        this.fullAt.delete(oldest);
        break;
      }
    }
    this.fullAt.set(key, fullAt);
  }

  /** Forgets the oldest keys while their buckets are full, a few at a time so that no call pays for all of them. */
  sweep(now: number): void {
    let looked = 0;
    for (const [key, fullAt] of this.fullAt) {
      if (looked >= SWEEP_PER_TAKE || fullAt > now) return;
      this.fullAt.delete(key);
      looked += 1;
    }
  }
}

/**
 * Token buckets in memory. A bucket is stored as the moment at which it will be full: one number per key, and a full bucket
 * need not be stored at all, so that keys which fell silent go by themselves.
 */
export class TokenBucketLimiter implements RateLimiter {
  readonly #clock: Clock;
  readonly #enabled: boolean;
  readonly #maxKeys: number;
  readonly #buckets: ReadonlyMap<string, Bucket>;
  /** By bucket and key. */
  readonly #own = new Map<string, Bucket>();

  /** @throws RangeError when a group lets nothing through (`burst` under 1, `perSecond` not above 0) */
  constructor(clock: Clock, options: RateLimiterOptions) {
    for (const [name, limit] of Object.entries(options.buckets)) assertLimit(name, limit);
    this.#clock = clock;
    this.#enabled = options.enabled;
    this.#maxKeys = options.maxKeys ?? DEFAULT_MAX_KEYS;
    this.#buckets = new Map(Object.entries(options.buckets).map(([name, limit]) => [name, new Bucket(limit)]));
  }

  /** Number of keys remembered. */
  get size(): number {
    let size = 0;
    for (const { fullAt } of this.#buckets.values()) size += fullAt.size;
    return size;
  }

  take(name: string, party: string, tokens = 1): RateVerdict {
    const key = shortened(party);
    const bucket = this.#bucket(name, key);
    if (bucket === undefined) return OK;
    const now = this.#clock.monotonic();
    const fullAt = Math.max(bucket.fullAt.get(key) ?? now, now) + tokens * bucket.msPerToken;
    // The bucket holds burst tokens: after this it may be at most `burst` tokens away from full, or just as far as these take it.
    const over = fullAt - now - Math.max(bucket.spanMs, tokens * bucket.msPerToken);
    bucket.sweep(now);
    // Sums of fractions must not refuse a token that is due now.
    if (over > SLACK_MS) return { ok: false, retryAfterMs: Math.ceil(over - SLACK_MS) };
    bucket.set(key, fullAt, this.#maxKeys);
    return OK;
  }

  check(name: string, party: string): RateVerdict {
    const key = shortened(party);
    const bucket = this.#bucket(name, key);
    const fullAt = bucket?.fullAt.get(key);
    if (bucket === undefined || fullAt === undefined) return OK;
    const over = fullAt + bucket.msPerToken - this.#clock.monotonic() - bucket.spanMs;
    return over > SLACK_MS ? { ok: false, retryAfterMs: Math.ceil(over - SLACK_MS) } : OK;
  }

  used(name: string, party: string): number {
    const key = shortened(party);
    const bucket = this.#bucket(name, key);
    const fullAt = bucket?.fullAt.get(key);
    if (bucket === undefined || fullAt === undefined) return 0;
    return Math.max(0, fullAt - this.#clock.monotonic()) / bucket.spanMs;
  }

  charge(name: string, party: string, tokens: number): void {
    const key = shortened(party);
    const bucket = this.#bucket(name, key);
    if (bucket === undefined) return;
    const now = this.#clock.monotonic();
    const fullAt = Math.max(bucket.fullAt.get(key) ?? now, now) + tokens * bucket.msPerToken;
    bucket.sweep(now);
    bucket.set(key, Math.min(fullAt, now + 2 * bucket.spanMs), this.#maxKeys);
  }

  refund(name: string, party: string, tokens = 1): void {
    const key = shortened(party);
    const bucket = this.#bucket(name, key);
    const fullAt = bucket?.fullAt.get(key);
    if (bucket === undefined || fullAt === undefined) return;
    bucket.set(key, fullAt - tokens * bucket.msPerToken, this.#maxKeys);
  }

  /** @throws RangeError as the constructor does */
  setOwn(name: string, key: string, limit: RateLimit | undefined): void {
    if (limit === undefined) {
      this.#own.delete(ownKey(name, key));
      return;
    }
    assertLimit(name, limit);
    this.#own.set(ownKey(name, key), new Bucket(limit));
  }

  #bucket(name: string, key: string): Bucket | undefined {
    if (!this.#enabled) return undefined;
    const own = this.#own.size === 0 ? undefined : this.#own.get(ownKey(name, key));
    return own ?? this.#buckets.get(name) ?? this.#buckets.get('default');
  }
}

const shortened = (key: string): string =>
  key.length <= MAX_KEY_LENGTH ? key : createHash('sha256').update(key).digest('base64');

const ownKey = (name: string, key: string): string => `${name} ${key}`;

const assertLimit = (name: string, limit: RateLimit): void => {
  if (!(limit.burst >= 1) || !(limit.perSecond > 0))
    throw new RangeError(`The rate limit ${name} needs a burst of at least 1 and more than 0 per second.`);
};
