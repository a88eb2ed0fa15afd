import type { RateLimiter } from '#src/kernel/limits/rate-limiter.ts';
import { quotaFull } from '#src/protocol/errors/quota-full.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { MEMBER } from '#src/protocol/events/event-types.ts';
import { takeTokens } from '#src/services/accounts/admission/rate-limits.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { Room } from '#src/services/room-model/room/room.ts';

/** The group of `rate_limits`. */
const BUCKET = 'state_bytes';
/** Characters of a member event that are not counted: enough for a name, an avatar and a reason. */
const PLAIN_MEMBERSHIP = 2_048;
/** Characters that a new member event of a user who has not joined counts as. */
const NEW_NAME = 512;

/** The user who adds to the state of a room. */
export interface StateSender {
  readonly userId: string;
  /** False for users who are exempt from rate limits. */
  readonly rateLimited?: boolean | undefined;
}

interface StateDraft {
  readonly type: string;
  readonly stateKey: string;
  readonly content: JsonObject;
}

/**
 * Limits how much users may add to the state of rooms. Messages are read page by page; the state is read as a whole, by every user who
 * joins the room, and is never removed.
 */
export class StateGrowth {
  readonly #rateLimiter: RateLimiter;
  readonly #loader: Pick<EventLoader, 'one'>;
  readonly #maxEntries: number;
  readonly #maxBytes: number;

  /**
   * @param options.maxEntries how many entries the state of a room may have beside memberships
   * @param options.maxBytes how large their events may be together
   */
  constructor(options: {
    readonly rateLimiter: RateLimiter;
    readonly loader: Pick<EventLoader, 'one'>;
    readonly maxEntries: number;
    readonly maxBytes: number;
  }) {
    this.#rateLimiter = options.rateLimiter;
    this.#loader = options.loader;
    this.#maxEntries = options.maxEntries;
    this.#maxBytes = options.maxBytes;
  }

  /** The state of a new room. @throws MatrixError M_LIMIT_EXCEEDED */
  admitNew(adder: StateSender, state: readonly { readonly content: JsonObject }[]): void {
    takeTokens(
      this.#rateLimiter,
      BUCKET,
      adder,
      state.reduce((sum, { content }) => sum + lengthOf(content), 0),
    );
  }

  /**
   * Memberships in a room, undefined for one that is about to be made. What takes the place of a long one counts as what it has more.
   *
   * @throws MatrixError M_LIMIT_EXCEEDED
   */
  async admitMemberships(
    adder: StateSender,
    room: Room | undefined,
    changes: readonly { readonly target: string; readonly content: JsonObject }[],
  ): Promise<void> {
    let added = 0;
    for (const { target, content } of changes) {
      const length = lengthOf(content);
      if (length > PLAIN_MEMBERSHIP)
        added += Math.max(0, length - Math.max(PLAIN_MEMBERSHIP, await this.#membershipLength(room, target)));
      if (target !== adder.userId && room?.headMembership(target) === undefined) added += NEW_NAME;
    }
    takeTokens(this.#rateLimiter, BUCKET, adder, added);
  }

  async #membershipLength(room: Room | undefined, target: string): Promise<number> {
    const slot = room?.headState(MEMBER, target);
    if (room === undefined || slot === undefined) return 0;
    const event = slot.event ?? (await this.#loader.one(room, slot.nid));
    return event === undefined ? 0 : lengthOf(event.content);
  }

  /**
   * Another entry of a room's state, or a new value of one. What becomes smaller is always admitted.
   *
   * @returns says once more whether there is room for it, where others may have added something meanwhile
   * @throws MatrixError M_TOO_LARGE, M_LIMIT_EXCEEDED
   */
  admit(adder: StateSender, room: Room, { type, stateKey, content }: StateDraft): (room: Room) => void {
    const length = lengthOf(content);
    const assertFits = (head: Room): number => {
      // All of it is in memory as long as the room has a local member.
      const before = head.headState(type, stateKey)?.event;
      const growth = length - (before === undefined ? 0 : lengthOf(before.content));
      if (before !== undefined && growth <= 0) return 0;
      const { bytes, entries } = head.headStateSize();
      if (before === undefined && entries >= this.#maxEntries)
        throw quotaFull('room.max_state_events', `The state of a room has ${this.#maxEntries} entries at most.`);
      if (bytes + growth > this.#maxBytes)
        throw quotaFull(
          'room.max_state_bytes',
          `The events of a room's state have ${this.#maxBytes} bytes at most. Make some of them shorter.`,
        );
      return growth;
    };
    const growth = assertFits(room);
    if (growth > 0) takeTokens(this.#rateLimiter, BUCKET, adder, growth);
    return (head) => {
      assertFits(head);
    };
  }
}

const lengthOf = (content: JsonObject): number => JSON.stringify(content).length;
