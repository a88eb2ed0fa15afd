import type { Clock } from '#src/kernel/clock.ts';
import type { RoomEventStream } from '#src/services/events/stream/room-event-stream.ts';
import type { Room } from '#src/services/room-model/room/room.ts';

/** What tells events apart that come within a millisecond. */
const LEAST = 1 / 1_024;

/**
 * When rooms last received an event, by which lists are sorted: "based on when the last event in the room was received by the server".
 * MSC4186, "Activity ordering".
 */
export class RoomActivity {
  readonly #clock: Clock;
  readonly #at = new WeakMap<Room, number>();
  #latest = 0;

  constructor(clock: Clock, stream: RoomEventStream) {
    this.#clock = clock;
    stream.on('appended', ({ room }) => {
      this.#latest = Math.max(clock.now(), this.#latest + LEAST);
      this.#at.set(room, this.#latest);
    });
  }

  /** Milliseconds since the epoch. For events from before this process started it is `origin_server_ts`, unless that is in the future. */
  of(room: Room): number {
    return this.#at.get(room) ?? Math.min(room.ring.newest?.pdu.origin_server_ts ?? 0, this.#clock.now());
  }
}
