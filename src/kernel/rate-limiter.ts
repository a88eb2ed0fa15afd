import type { Clock } from './clock.ts';

/** One group of limits: `burst` at once, then `perSecond` on average. */
export interface RateLimit {
  readonly perSecond: number;
  readonly burst: number;
}

export interface RateLimiterOptions {
  readonly enabled: boolean;
  /** Groups by name. A bucket without a group of its own takes `default`; without that it is not limited. */
  readonly buckets: Readonly<Record<string, RateLimit>>;
  /** Keys remembered at once, over all buckets. Beyond it the least recently used is forgotten. */
  readonly maxKeys?: number;
}

export type RateVerdict = { readonly ok: true } | { readonly ok: false; readonly retryAfterMs: number };

export interface RateLimiter {
  /**
   * Takes one token for `key` (a user id, an address) out of `bucket`.
   *
   * @returns when there is none, the milliseconds until there will be one; asking in vain costs nothing
   */
  take(bucket: string, key: string): RateVerdict;
}

/** When the bucket of a key will be full again, in monotonic milliseconds: all that needs to be remembered of it. */
interface Entry {
  fullAt: number;
}

const OK: RateVerdict = { ok: true };
const DEFAULT_MAX_KEYS = 100_000;
const SWEEP_PER_TAKE = 2;
/** A thousandth of a millisecond. */
const SLACK_MS = 0.001;

/**
 * Token buckets in memory. A bucket is stored as the moment at which it will be full: one number per key, and a full bucket
 * need not be stored at all, so that keys which fell silent go by themselves.
 */
export class TokenBucketLimiter implements RateLimiter {
  readonly #clock: Clock;
  readonly #options: RateLimiterOptions;
  readonly #maxKeys: number;
  /** In order of last use. */
  readonly #entries = new Map<string, Entry>();

  /** @throws RangeError when a group lets nothing through (`burst` under 1, `perSecond` not above 0) */
  constructor(clock: Clock, options: RateLimiterOptions) {
    for (const [name, limit] of Object.entries(options.buckets)) {
      if (!(limit.burst >= 1) || !(limit.perSecond > 0)) {
        throw new RangeError(`The rate limit ${name} needs a burst of at least 1 and more than 0 per second.`);
      }
    }
    this.#clock = clock;
    this.#options = options;
    this.#maxKeys = options.maxKeys ?? DEFAULT_MAX_KEYS;
  }

  /** Number of keys remembered. */
  get size(): number {
    return this.#entries.size;
  }

  take(bucket: string, key: string): RateVerdict {
    if (!this.#options.enabled) return OK;
    const own = Object.hasOwn(this.#options.buckets, bucket);
    const limit = own ? this.#options.buckets[bucket] : this.#options.buckets['default'];
    if (limit === undefined) return OK;

    const now = this.#clock.monotonic();
    const name = `${own ? bucket : 'default'} ${key}`;
    const msPerToken = 1000 / limit.perSecond;
    const entry = this.#entries.get(name);
    const fullAt = Math.max(entry?.fullAt ?? now, now) + msPerToken;
    // The bucket holds burst tokens: after this one it may be at most `burst` tokens away from full.
    const over = fullAt - now - limit.burst * msPerToken;
    this.#sweep(now);
    // Sums of fractions must not refuse a token that is due now.
    if (over > SLACK_MS) return { ok: false, retryAfterMs: Math.ceil(over - SLACK_MS) };

    if (entry !== undefined) this.#entries.delete(name);
    else if (this.#entries.size >= this.#maxKeys) this.#forgetOldest();
    this.#entries.set(name, { fullAt });
    return OK;
  }

  #forgetOldest(): void {
    for (const name of this.#entries.keys()) {
      this.#entries.delete(name);
      return;
    }
  }

  /** Forgets the oldest keys while their buckets are full, a few at a time so that no call pays for all of them. */
  #sweep(now: number): void {
    let looked = 0;
    for (const [name, entry] of this.#entries) {
      if (looked >= SWEEP_PER_TAKE || entry.fullAt > now) return;
      this.#entries.delete(name);
      looked += 1;
    }
  }
}
