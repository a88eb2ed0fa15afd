import type { Clock } from '#src/kernel/clock.ts';
import { SharedBudget, Shares } from '#src/kernel/limits/shared-budget.ts';

/** A session of user-interactive authentication: which stages of it are completed, and for which request. */
export interface UiaSession {
  readonly id: string;
  /** The request it is for: operation, target and the parameters that must not change, as a digest. */
  readonly request: string;
  /** The user who must authenticate; undefined where there is none yet (registration). */
  readonly userId: string | undefined;
  /** For whom it takes memory: the user, or the network from which it was begun. */
  readonly party: string;
  /** The operation that it is for, and the ways to authenticate for that which the client was told. */
  readonly operation: string;
  readonly flows: readonly (readonly string[])[];
  /** Stages completed, in order. */
  readonly completed: readonly string[];
  /** What stages proved, for the operation to use: the registration token, for one. */
  readonly proofs: Readonly<Record<string, string>>;
  /** What the requests of the session asked for so far, where it may be said in several of them. */
  readonly params?: unknown;
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
  /** Bytes, roughly, of all sessions; default 64 MiB. */
  readonly maxBytes?: number;
  /** Bytes, roughly, of the sessions of one user or network; default 1 MiB. */
  readonly maxBytesOfParty?: number;
}

interface Kept {
  readonly session: UiaSession;
  readonly bytes: number;
  readonly expires: number;
}

export const MAX_BYTES = 64 * 1024 * 1024;
export const MAX_BYTES_OF_PARTY = 1024 * 1024;
/** What a session takes beside its texts. */
const OVERHEAD = 512;

/**
 * Sessions in the memory of one process. Users and networks have shares of it: one who begins many loses the oldest of their own, and nobody
 * else's.
 */
export class MemoryUiaSessions implements UiaSessionStore {
  readonly #clock: Clock;
  readonly #lifetimeMs: number;
  readonly #budget: SharedBudget;
  readonly #shares: Shares;
  /** In the order in which they expire. */
  readonly #kept = new Map<string, Kept>();
  /** Ids by party, the oldest first. */
  readonly #ofParties = new Map<string, Set<string>>();

  constructor(clock: Clock, options: MemoryUiaSessionsOptions = {}) {
    this.#clock = clock;
    this.#lifetimeMs = options.lifetimeMs ?? 15 * 60_000;
    this.#budget = new SharedBudget(options.maxBytes ?? MAX_BYTES);
    this.#shares = new Shares(options.maxBytesOfParty ?? MAX_BYTES_OF_PARTY);
  }

  get(id: string): Promise<UiaSession | undefined> {
    this.#expire();
    return Promise.resolve(this.#kept.get(id)?.session);
  }

  put(session: UiaSession): Promise<void> {
    this.#expire();
    const { id, party } = session;
    this.#forget(id);
    // Two bytes for each character.
    const bytes = 2 * JSON.stringify(session).length + OVERHEAD;
    while (!this.#budget.take(bytes, this.#shares.of(party))) {
      const oldest = firstOf(this.#ofParties.get(party) ?? this.#kept.keys());
      // It is larger than all that there is.
      if (oldest === undefined) return Promise.resolve();
      this.#forget(oldest);
    }
    this.#kept.set(id, { session, bytes, expires: this.#clock.monotonic() + this.#lifetimeMs });
    const ofParty = this.#ofParties.get(party) ?? new Set();
    this.#ofParties.set(party, ofParty.add(id));
    return Promise.resolve();
  }

  delete(id: string): Promise<void> {
    this.#forget(id);
    return Promise.resolve();
  }

  #expire(): void {
    const now = this.#clock.monotonic();
    for (const [id, { expires }] of this.#kept) {
      if (expires > now) return;
      this.#forget(id);
    }
  }

  #forget(id: string): void {
    const kept = this.#kept.get(id);
    if (kept === undefined) return;
    const { party } = kept.session;
    this.#kept.delete(id);
    this.#budget.give(kept.bytes, this.#shares.of(party));
    const ofParty = this.#ofParties.get(party);
    ofParty?.delete(id);
    if (ofParty?.size === 0) this.#ofParties.delete(party);
  }
}

const firstOf = (ids: Iterable<string>): string | undefined => {
  for (const id of ids) return id;
  return undefined;
};
