import { LRUCache } from 'lru-cache';
import { atMost } from '#src/kernel/caches/at-most.ts';
import type { RateLimiter } from '#src/kernel/limits/rate-limiter.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { takeTokens } from '#src/services/accounts/admission/rate-limits.ts';
import { relationOf } from '#src/services/room-model/event/stored-event.ts';
import type { Actor } from '#src/services/rooms/membership/membership-gate.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';

/**
 * Event types and relation types that are new on this server. Their names stay for good, so there is a limit on how many a user may
 * bring in.
 */
export class NewTypes {
  readonly #interner: Interner;
  readonly #rateLimiter: RateLimiter;
  /** Types that were counted, and may be on their way into the database. */
  readonly #admitted = new LRUCache<string, true>(atMost(1_000));

  constructor(options: { readonly interner: Interner; readonly rateLimiter: RateLimiter }) {
    this.#interner = options.interner;
    this.#rateLimiter = options.rateLimiter;
  }

  /**
   * @returns undefined where all types are known, which is the usual case
   * @throws MatrixError M_LIMIT_EXCEEDED
   */
  admit(
    sender: Actor,
    events: readonly { readonly type: string; readonly content: JsonObject }[],
  ): Promise<void> | undefined {
    let unknown: Set<string> | undefined;
    for (const { type, content } of events) {
      const relType = relationOf(content)?.relType;
      if (this.#interner.peekType(type) === undefined) (unknown ??= new Set()).add(type);
      if (relType !== undefined && this.#interner.peekType(relType) === undefined) (unknown ??= new Set()).add(relType);
    }
    return unknown && this.#admitNew(sender, [...unknown]);
  }

  async #admitNew(sender: Actor, unknown: readonly string[]): Promise<void> {
    const names = await this.#interner.find({ types: unknown });
    const made = unknown.filter((type) => names.peekType(type) === undefined && !this.#admitted.has(type));
    if (made.length === 0) return;
    takeTokens(this.#rateLimiter, 'new_type', sender, made.length);
    for (const type of made) this.#admitted.set(type, true);
  }
}
