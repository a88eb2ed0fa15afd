import { LRUCache } from 'lru-cache';
import type { Clock } from '#src/kernel/clock.ts';
import type { Random } from '#src/kernel/random.ts';
import type { Subscribable } from '#src/kernel/signal.ts';

/** The outage of a server that could not be reached. */
export interface Outage {
  /** Since when it has not been reached, in milliseconds since the epoch. */
  readonly since: number;
  /** Before then it is not tried again. */
  readonly retryAt: number;
}

export interface DestinationBackoffOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** Servers that were heard of. */
  readonly contacts: Subscribable<string>;
  /** Told of each change; undefined: it is reached again. */
  readonly changed?: (destination: string, outage: Outage | undefined) => void;
}

/** Servers remembered; beyond, those that were not tried for longest are forgotten. */
const MAX_OUTAGES = 20_000;
const MIN_MS = 5_000;
const MAX_MS = 3_600_000;
/** The pause is this part of the outage: a server that is back after ten minutes is found within 30 s, one that is away for days is tried each hour. */
const PART = 1 / 20;
/** The random part of a pause, so that not all requests come at once. */
const JITTER = 0.2;
/** While a user waits, a server is tried again after so many milliseconds. */
const URGENT_MS = 10_000;

/** When servers that could not be reached are tried again: one memory for all requests. */
export class DestinationBackoff {
  readonly #options: DestinationBackoffOptions;
  readonly #outages = new LRUCache<string, Outage & { readonly triedAt: number }>({
    maxSize: MAX_OUTAGES,
    sizeCalculation: () => 1,
    dispose: (_, destination, reason) => {
      if (reason === 'evict') this.#options.changed?.(destination, undefined);
    },
  });

  constructor(options: DestinationBackoffOptions) {
    this.#options = options;
    options.contacts.subscribe((destination) => this.#heardOf(destination));
  }

  /** How many servers are not reached. */
  get size(): number {
    return this.#outages.size;
  }

  /** The outage of a server, if there is one. */
  outageOf(destination: string): Outage | undefined {
    return this.#outages.peek(destination);
  }

  /** All servers that could not be reached. */
  outages(): readonly (readonly [destination: string, outage: Outage])[] {
    return [...this.#outages.entries()];
  }

  /** Milliseconds until a server may be tried again; 0 for at once. @param isUrgent a user waits for the response */
  waitMs(destination: string, isUrgent = false): number {
    const outage = this.#outages.get(destination);
    if (outage === undefined) return 0;
    const until = isUrgent ? Math.min(outage.retryAt, outage.triedAt + URGENT_MS) : outage.retryAt;
    return Math.max(0, until - this.#options.clock.now());
  }

  /** The server could not be reached. */
  failed(destination: string): void {
    const now = this.#options.clock.now();
    const known = this.#outages.get(destination);
    // Several requests that failed at the same time are one failure.
    if (known !== undefined && now < known.retryAt && now - known.triedAt < MIN_MS) return;
    const since = Math.min(known?.since ?? now, now);
    const pause = Math.min(MAX_MS, Math.max(MIN_MS, (now - since) * PART));
    const spread = 1 - (JITTER * (this.#options.random.bytes(1)[0] ?? 0)) / 256;
    this.#set(destination, { since, retryAt: now + Math.round(pause * spread), triedAt: now });
  }

  /** The server has come to us: it is tried again, though one that comes all the time and is never there not all the time. */
  #heardOf(destination: string): void {
    const outage = this.#outages.get(destination);
    if (outage === undefined) return;
    if (this.#options.clock.now() - outage.triedAt >= MIN_MS) this.reached(destination);
    else this.#set(destination, { ...outage, retryAt: Math.min(outage.retryAt, outage.triedAt + MIN_MS) });
  }

  /** The server was reached. */
  reached(destination: string): void {
    if (!this.#outages.delete(destination)) return;
    this.#options.changed?.(destination, undefined);
  }

  /** Restores the outages known to an earlier process. */
  remember(destination: string, outage: Outage): void {
    // A wrong clock must not keep a server from being tried.
    const retryAt = Math.min(outage.retryAt, this.#options.clock.now() + MAX_MS);
    this.#outages.set(destination, { since: outage.since, retryAt, triedAt: 0 });
  }

  #set(destination: string, outage: Outage & { readonly triedAt: number }): void {
    this.#outages.set(destination, outage);
    this.#options.changed?.(destination, outage);
  }
}
