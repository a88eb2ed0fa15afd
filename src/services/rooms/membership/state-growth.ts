import type { RateLimiter } from '#src/kernel/rate-limiter.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { takeTokens } from '#src/services/accounts/sessions/rate-limits.ts';
import type { Room } from '#src/services/room-model/room/room.ts';

/** The group of `rate_limits`. */
const BUCKET = 'state_bytes';
/** What a membership may say without being counted: a name, an avatar, a reason. */
const PLAIN_MEMBERSHIP = 2_048;
/** What somebody counts as who comes into the state of a room without having come themselves. */
const NEW_NAME = 512;

/** Who adds to the state of a room. */
export interface Adder {
  readonly userId: string;
  /** False for those whom no rate limit holds. */
  readonly rateLimited?: boolean | undefined;
}

interface StateDraft {
  readonly type: string;
  readonly stateKey: string;
  readonly content: JsonObject;
}

/**
 * How much users may add to the state of rooms. Messages are read page by page; the state is read as a whole, by everybody who comes to
 * the room, and stays for good.
 */
export class StateGrowth {
  readonly #rateLimiter: RateLimiter;
  readonly #mostEntries: number;
  readonly #mostBytes: number;

  /**
   * @param options.mostEntries how many entries the state of a room may have beside memberships
   * @param options.mostBytes how large their events may be together
   */
  constructor(options: {
    readonly rateLimiter: RateLimiter;
    readonly mostEntries: number;
    readonly mostBytes: number;
  }) {
    this.#rateLimiter = options.rateLimiter;
    this.#mostEntries = options.mostEntries;
    this.#mostBytes = options.mostBytes;
  }

  /** The state of a new room. @throws MatrixError M_LIMIT_EXCEEDED */
  admitNew(adder: Adder, state: readonly { readonly content: JsonObject }[]): void {
    takeTokens(
      this.#rateLimiter,
      BUCKET,
      adder,
      state.reduce((sum, { content }) => sum + lengthOf(content), 0),
    );
  }

  /** Memberships in a room, undefined for one that is about to be made. @throws MatrixError M_LIMIT_EXCEEDED */
  admitMemberships(
    adder: Adder,
    room: Room | undefined,
    changes: readonly { readonly target: string; readonly content: JsonObject }[],
  ): void {
    let added = 0;
    for (const { target, content } of changes) {
      added += Math.max(0, lengthOf(content) - PLAIN_MEMBERSHIP);
      if (target !== adder.userId && room?.headMembership(target) === undefined) added += NEW_NAME;
    }
    takeTokens(this.#rateLimiter, BUCKET, adder, added);
  }

  /**
   * Another entry of a room's state, or a new value of one. What becomes smaller is always admitted.
   *
   * @throws MatrixError M_TOO_LARGE, M_LIMIT_EXCEEDED
   */
  admit(adder: Adder, room: Room, { type, stateKey, content }: StateDraft): void {
    // All of it is in memory as long as the room has a local member.
    const before = room.headState(type, stateKey)?.event;
    if (before === undefined && room.state.size >= this.#mostEntries)
      throw new MatrixError('M_TOO_LARGE', `The state of a room has ${this.#mostEntries} entries at most.`);
    const growth = lengthOf(content) - (before === undefined ? 0 : lengthOf(before.content));
    if (growth <= 0) return;
    if (room.stateBytes() + growth > this.#mostBytes)
      throw new MatrixError(
        'M_TOO_LARGE',
        `The events of a room's state have ${this.#mostBytes} bytes at most. Make some of them shorter.`,
      );
    takeTokens(this.#rateLimiter, BUCKET, adder, growth);
  }
}

const lengthOf = (content: JsonObject): number => JSON.stringify(content).length;
