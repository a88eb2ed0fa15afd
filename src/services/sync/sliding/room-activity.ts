import type { Clock } from '#src/kernel/clock.ts';
import type { RoomEventStream } from '#src/services/events/stream/room-event-stream.ts';
import type { RoomStub } from '#src/services/room-model/room/room-stub.ts';

/** Distinguishes events within one millisecond. */
const LEAST = 1 / 1_024;

/**
 * When rooms last received an event, by which lists are sorted: "based on when the last event in the room was received by the server".
 * MSC4186, "Activity ordering".
 */
export class RoomActivity {
  readonly #clock: Clock;
  readonly #at = new WeakMap<RoomStub, number>();
  #latest = 0;

  constructor(clock: Clock, stream: RoomEventStream) {
    this.#clock = clock;
    stream.on('appended', ({ room }) => {
      this.#latest = Math.max(clock.now(), this.#latest + LEAST);
      this.#at.set(room.stub, this.#latest);
    });
  }

  /**
   * Milliseconds since the epoch. For events from before this process started it is `origin_server_ts`, unless that is in the future.
   *
   * @param newest `origin_server_ts` of the room's newest event
   */
  of(room: RoomStub, newest: number): number {
    return this.#at.get(room) ?? Math.min(newest, this.#clock.now());
  }
}
