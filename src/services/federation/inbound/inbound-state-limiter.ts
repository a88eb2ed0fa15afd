import type { Logger } from '#src/kernel/logger.ts';
import type { Metrics } from '#src/kernel/metrics.ts';
import type { RateLimiter } from '#src/kernel/rate-limiter.ts';
import type { Room } from '#src/services/room-model/room/room.ts';

/** The group of `rate_limits`. */
const BUCKET = 'remote_state_bytes';
/** The group that counts the same of all rooms together, under one key. */
const TOTAL = 'remote_state_bytes_total';
const ALL_ROOMS = '';
/** From this part of its own bucket on a room waits where that of all rooms is empty: rooms that hardly grow go on. */
const GROWING = 0.05;
/** What a member counts as: a row of a table in memory. */
const BYTES_OF_MEMBER = 100;
/** From this part of the bucket on each event is accepted by itself: a batch of the largest ones would owe for hours. */
const TIGHT = 0.2;

/**
 * At what pace other servers make the state of a room larger. A room must not diverge, so nothing of it is refused: once it has grown by what
 * is free, its events wait, and other rooms do not. Nor may a server make many rooms grow by as much as is free for each: where all of them
 * together have grown too fast, those wait that grow most.
 */
export class InboundStateLimiter {
  readonly #rateLimiter: RateLimiter;
  readonly #logger: Logger;
  /** Rooms whose events wait, or wait again with the next one that is large, by number. */
  readonly #slowed = new Set<number>();

  constructor(options: { readonly rateLimiter: RateLimiter; readonly logger: Logger; readonly metrics: Metrics }) {
    this.#rateLimiter = options.rateLimiter;
    this.#logger = options.logger;
    options.metrics.gaugeOf(
      'tsudoi_federation_slowed_rooms',
      'Rooms whose events wait because other servers made their state grow too fast.',
      () => this.#slowed.size,
    );
  }

  /**
   * Counts by how much received events have made the state of a room larger since that was counted last: once, however many lines of events the
   * room has, and not what users of this server add, or what comes with their joins.
   */
  count(room: Room): void {
    const { bytes, members } = room.takeReceivedGrowth();
    const growth = bytes + BYTES_OF_MEMBER * members;
    if (growth <= 0) return;
    this.#rateLimiter.charge(BUCKET, room.roomId, growth);
    this.#rateLimiter.charge(TOTAL, ALL_ROOMS, growth);
  }

  /** Whether events have to be accepted one by one, so that one batch does not stop the room for long. */
  isTight(room: Room): boolean {
    return this.#rateLimiter.used(BUCKET, room.roomId) >= TIGHT;
  }

  /** For how many milliseconds the events of a room wait; 0 for almost all rooms. */
  pauseMs(room: Room): number {
    this.count(room);
    const own = this.#rateLimiter.check(BUCKET, room.roomId);
    const isGrowing = own.ok && this.#rateLimiter.used(BUCKET, room.roomId) >= GROWING;
    const verdict = isGrowing ? this.#rateLimiter.check(TOTAL, ALL_ROOMS) : own;
    if (verdict.ok) {
      if (!this.isTight(room)) this.#slowed.delete(room.nid);
      return 0;
    }
    if (!this.#slowed.has(room.nid)) {
      this.#slowed.add(room.nid);
      this.#logger.warn('other servers make the state of a room grow too fast: its events wait', {
        room_id: room.roomId,
        state_bytes: room.stateBytes(),
        members: room.members.size,
        wait_ms: verdict.retryAfterMs,
      });
    }
    return verdict.retryAfterMs;
  }

  /** Whether the events of a room wait, again and again. */
  isSlowed(roomNid: number): boolean {
    return this.#slowed.has(roomNid);
  }

  /** Nothing waits any more. */
  forget(roomNid: number): void {
    this.#slowed.delete(roomNid);
  }
}
