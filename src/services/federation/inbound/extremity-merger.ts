import { LRUCache } from 'lru-cache';
import { Ongoing } from '#src/kernel/concurrency/background.ts';
import { atMost } from '#src/kernel/caches/at-most.ts';
import type { Logger } from '#src/kernel/logger.ts';
import type { Timers } from '#src/kernel/timers.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { EventService } from '#src/services/events/stream/event-service.ts';
import type { RoomEventStream } from '#src/services/events/stream/room-event-stream.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Room } from '#src/services/room-model/room/room.ts';

export interface ExtremityMergerOptions {
  readonly events: Pick<EventService, 'send'>;
  readonly rooms: Pick<RoomRegistry, 'byNid'>;
  readonly stream: RoomEventStream;
  readonly timers: Timers;
  readonly logger: Logger;
}

/** Number of forward extremities from which on they are merged. */
const MANY = 10;
/** Milliseconds for which a user's message may do so first. */
const MERGE_DELAY_MS = 60_000;
/** Members that are tried: some may not be allowed to send. */
const MAX_SENDERS = 5;
const MAX_ROOMS = 1_000;
/** The event type that Synapse sends for the same. Clients do not show it. */
const DUMMY = 'org.matrix.dummy_event';

/**
 * Merges the forward extremities of rooms in which no message does so, by an event of a local member with all of them as prev events. Many
 * extremities make every state resolution expensive, here and on all other servers. Nothing is stored for it: after a restart the next event
 * of the room triggers it again, and without one nothing has to be resolved.
 */
export class ExtremityMerger {
  readonly #options: ExtremityMergerOptions;
  readonly #waiting = new LRUCache<number, true>(atMost(MAX_ROOMS));
  readonly #running = new Ongoing();
  readonly #closing = new AbortController();

  constructor(options: ExtremityMergerOptions) {
    this.#options = options;
    options.stream.on('appended', ({ room }) => {
      if (room.head.extremities.length >= MANY && !this.#waiting.has(room.nid)) this.#soon(room.nid);
    });
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#running.idle();
  }

  #soon(roomNid: number): void {
    this.#waiting.set(roomNid, true);
    const healing = this.#heal(roomNid)
      .catch((err: unknown) => {
        if (!this.#closing.signal.aborted)
          this.#options.logger.warn('the forward extremities of a room could not be merged', {
            err,
            room_nid: roomNid,
          });
      })
      .finally(() => this.#waiting.delete(roomNid));
    this.#running.add(
      undefined,
      healing.then(() => undefined),
    );
  }

  async #heal(roomNid: number): Promise<void> {
    const { rooms, timers } = this.#options;
    const { signal } = this.#closing;
    await timers.sleep(MERGE_DELAY_MS, signal);
    const room = signal.aborted ? undefined : await rooms.byNid(roomNid);
    if (room === undefined || room.head.extremities.length < MANY) return;
    await this.merge(room);
  }

  /** Merges the forward extremities of a room at once. @returns false when no local member may send it */
  async merge(room: Room): Promise<boolean> {
    for (const sender of sendersIn(room)) if (await this.#send(room, sender)) return true;
    return false;
  }

  /** @returns whether it was allowed */
  async #send(room: Room, sender: string): Promise<boolean> {
    try {
      await this.#options.events.send(room, { type: DUMMY, sender, content: {} });
      return true;
    } catch (error) {
      if (error instanceof MatrixError) return false;
      throw error;
    }
  }
}

/** Local members, the highest power level first. */
const sendersIn = (room: Room): readonly string[] => {
  const levels = room.powerLevels();
  return [...room.members.values()]
    .filter(({ local, membership }) => local && membership === 'join')
    .map(({ userId }) => userId)
    .sort((a, b) => levels.userLevel(b) - levels.userLevel(a))
    .slice(0, MAX_SENDERS);
};
