import type { Logger } from '#src/kernel/logger.ts';
import type { Metrics } from '#src/kernel/metrics.ts';
import type { RateLimiter } from '#src/kernel/limits/rate-limiter.ts';
import type { Room } from '#src/services/room-model/room/room.ts';

/** The group of `rate_limits`. */
const BUCKET = 'remote_state_bytes';
/** The group that counts all rooms together, under one key. */
const TOTAL = 'remote_state_bytes_total';
const ALL_ROOMS = '';
/** While the bucket of all rooms is empty, rooms wait that have used this share of their own: rooms that hardly grow are not held up. */
const GROWING = 0.05;
/** Bytes that a member counts: a row of a table in memory. */
const BYTES_OF_MEMBER = 100;
/** Used share of the bucket from which on events are accepted one by one: a batch of large ones could exceed the limit by hours. */
const TIGHT = 0.2;

/**
 * Limits how fast other servers make the state of rooms grow. A room must not diverge, so no event is refused: once a room has used up its limit,
 * its events wait, and those of other rooms do not. Nor may a server make very many rooms grow up to the limit of each: where all rooms together
 * have grown too fast, those wait that grow most.
 */
export class InboundStateLimiter {
  readonly #rateLimiter: RateLimiter;
  readonly #logger: Logger;
  /** Rooms whose events wait, or will wait after the next large one, by number. */
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
   * Counts by how much received events have made the state of a room grow since the last call. Growth by users of this server, or by their joins,
   * does not count.
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

  /** Milliseconds that the events of a room wait; 0 for almost all rooms. */
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
      this.#logger.warn('remote events make the state of a room grow too fast; its events wait', {
        room_id: room.roomId,
        state_bytes: room.stateBytes(),
        members: room.members.size,
        wait_ms: verdict.retryAfterMs,
      });
    }
    return verdict.retryAfterMs;
  }

  /** Whether the events of a room have to wait repeatedly. */
  isSlowed(roomNid: number): boolean {
    return this.#slowed.has(roomNid);
  }

  /** Forgets a room without waiting events. */
  forget(roomNid: number): void {
    this.#slowed.delete(roomNid);
  }
}
