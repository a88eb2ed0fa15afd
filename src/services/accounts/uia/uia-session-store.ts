import { LRUCache } from 'lru-cache';
import { atMost } from '#src/kernel/at-most.ts';
import type { Clock } from '#src/kernel/clock.ts';

/** A session of user-interactive authentication: which stages of it are completed, and for which request. */
export interface UiaSession {
  readonly id: string;
  /** The request it is for: operation, target and the parameters that must not change, as a digest. */
  readonly request: string;
  /** The user who must authenticate; undefined where there is none yet (registration). */
  readonly userId: string | undefined;
  /** The operation that it is for, and the ways to authenticate for that which the client was told. */
  readonly operation: string;
  readonly flows: readonly (readonly string[])[];
  /** Stages completed, in order. */
  readonly completed: readonly string[];
  /** What stages proved, for the operation to use: the registration token, for one. */
  readonly proofs: Readonly<Record<string, string>>;
  /** What the requests of the session asked for so far, where it may be said in several of them. */
  readonly wishes?: unknown;
  /** What the operation returned, once it was done. */
  readonly outcome?: { readonly result: unknown } | undefined;
}

/** Stores sessions between the requests of an authentication, with their results. They need not survive a restart: clients start again. */
export interface UiaSessionStore {
  get(id: string): Promise<UiaSession | undefined>;
  put(session: UiaSession): Promise<void>;
  delete(id: string): Promise<void>;
}

export interface MemoryUiaSessionsOptions {
  /** Milliseconds that a session lives after its last step; default 15 minutes. */
  readonly lifetimeMs?: number;
  /** Sessions at once, the least recently used being forgotten first; default 50 000. */
  readonly maxSessions?: number;
}

interface Kept {
  readonly session: UiaSession;
  readonly expires: number;
}

/** Sessions in the memory of one process. */
export class MemoryUiaSessions implements UiaSessionStore {
  readonly #clock: Clock;
  readonly #lifetimeMs: number;
  readonly #kept: LRUCache<string, Kept>;

  constructor(clock: Clock, options: MemoryUiaSessionsOptions = {}) {
    this.#clock = clock;
    this.#lifetimeMs = options.lifetimeMs ?? 15 * 60_000;
    this.#kept = new LRUCache(atMost(options.maxSessions ?? 50_000));
  }

  get(id: string): Promise<UiaSession | undefined> {
    const kept = this.#kept.get(id);
    if (kept === undefined) return Promise.resolve(undefined);
    if (kept.expires > this.#clock.monotonic()) return Promise.resolve(kept.session);
    this.#kept.delete(id);
    return Promise.resolve(undefined);
  }

  put(session: UiaSession): Promise<void> {
    this.#kept.set(session.id, { session, expires: this.#clock.monotonic() + this.#lifetimeMs });
    return Promise.resolve();
  }

  delete(id: string): Promise<void> {
    this.#kept.delete(id);
    return Promise.resolve();
  }
}
