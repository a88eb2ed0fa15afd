import { CountedCache } from '#src/kernel/caches/counted-cache.ts';
import type { LRUCache } from 'lru-cache';
import { atMost } from '#src/kernel/caches/at-most.ts';
import type { Requester } from './requester.ts';

/** A verified token, and its requester as long as nothing changes. */
export interface LiveToken {
  readonly requester: Requester;
  readonly userId: string;
  readonly sessionId: string;
  readonly locked: boolean;
  /** When the account is good no longer: milliseconds since the epoch; Infinity for never. */
  readonly accountExpiresTs: number;
  /** Milliseconds since the epoch; Infinity for never. */
  readonly expiresTs: number;
}

/** Tokens of one user that are remembered: refreshing makes new ones while the old ones are good. */
export const MAX_PER_USER = 256;

/** Verified tokens in memory, least recently used ones forgotten first, with an index by user to drop them by. */
export class LiveSessions {
  readonly #tokens: LRUCache<string, LiveToken>;
  readonly #byUser = new Map<string, Set<string>>();

  /** @param max tokens remembered at once */
  constructor(max: number) {
    this.#tokens = new CountedCache('access_tokens', {
      ...atMost(max),
      dispose: (live, token) => this.#unlist(live, token),
    });
  }

  get size(): number {
    return this.#tokens.size;
  }

  /** Without counting as a use. */
  peek(token: string): LiveToken | undefined {
    return this.#tokens.peek(token);
  }

  get(token: string): LiveToken | undefined {
    return this.#tokens.get(token);
  }

  set(token: string, live: LiveToken): void {
    this.#tokens.set(token, live);
    const tokens = this.#byUser.get(live.userId);
    if (tokens === undefined) this.#byUser.set(live.userId, new Set([token]));
    else {
      tokens.add(token);
      const [oldest] = tokens;
      if (tokens.size > MAX_PER_USER && oldest !== undefined) this.#tokens.delete(oldest);
    }
  }

  /** Forgets the tokens of some sessions of a user, or of all of them. */
  drop(userId: string, which: (live: LiveToken) => boolean = () => true): void {
    for (const token of this.#byUser.get(userId) ?? []) {
      const live = this.#tokens.peek(token);
      if (live !== undefined && which(live)) this.#tokens.delete(token);
    }
  }

  #unlist(live: LiveToken, token: string): void {
    const tokens = this.#byUser.get(live.userId);
    tokens?.delete(token);
    if (tokens?.size === 0) this.#byUser.delete(live.userId);
  }
}
