import type { Clock } from '#src/kernel/clock.ts';
import type { Logger } from '#src/kernel/logger.ts';
import type { Counter, Metrics } from '#src/kernel/metrics.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { Database } from '#src/storage/database.ts';
import { isOfDatabase } from '#src/storage/failures.ts';
import {
  dueEventsSetAside,
  type EventSetAside,
  forgetEventSetAside,
  nextEventSetAside,
  retryEventsSetAside,
  setAside,
} from '#src/storage/events/events-set-aside.ts';
import type { FollowedEvent } from './followed-event.ts';
import { countGivenUp } from './follower-metrics.ts';

/** How often an event is tried. */
const TRIES = 6;
/** Before the second try; before each further one four times as long. */
const FIRST_PAUSE_MS = 1_000;
const TRIED_AT_ONCE = 50;

export interface EventsSetAsideOptions {
  readonly database: Database;
  readonly rooms: RoomRegistry;
  readonly loader: EventLoader;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** The follower's. */
  readonly name: string;
  readonly take: (events: readonly FollowedEvent[]) => Promise<void>;
}

/**
 * Passes events to a follower, and sets aside those at which it fails: they are tried again later, and the others do not wait for them.
 * What fails again and again is tried at each start only.
 */
export class EventsSetAside {
  readonly #options: EventsSetAsideOptions;
  readonly #givenUp: Counter;
  #retryAt: number | undefined;

  constructor(options: EventsSetAsideOptions) {
    this.#options = options;
    this.#givenUp = countGivenUp(options.metrics);
  }

  /** When to call `retryDue` next, in milliseconds. */
  get retryAt(): number | undefined {
    return this.#retryAt;
  }

  /** Makes everything due that was ever set aside: a newer version of the server may be able to process it. */
  async start(): Promise<void> {
    const { clock, database, name } = this.#options;
    await retryEventsSetAside(database, name, clock.now());
    this.#retryAt = await nextEventSetAside(database, name);
  }

  /** Something may be due from a time on, in milliseconds. */
  expect(at: number): void {
    this.#retryAt = Math.min(at, this.#retryAt ?? Infinity);
  }

  /**
   * Processes events in order, or sets them aside. Those that fail are found by halving.
   *
   * @throws what the database throws when the fault is its own
   */
  async takeIn(events: readonly FollowedEvent[]): Promise<void> {
    if (events.length === 0) return;
    try {
      await this.#options.take(events);
    } catch (err) {
      if (isOfDatabase(err)) throw err;
      const [first] = events;
      if (events.length === 1 && first !== undefined) {
        await this.#setAside({ event: first.event.nid, room: first.room.nid, tries: 1 }, err);
        return;
      }
      const middle = Math.ceil(events.length / 2);
      await this.takeIn(events.slice(0, middle));
      await this.takeIn(events.slice(middle));
    }
  }

  /** Tries those again whose time has come. @throws what the database throws when the fault is its own */
  async retryDue(): Promise<void> {
    const { clock, database, name } = this.#options;
    if (this.#retryAt === undefined || this.#retryAt > clock.now()) return;
    for (const due of await dueEventsSetAside(database, name, clock.now(), TRIED_AT_ONCE)) await this.#retry(due);
    // What comes while it is read is due as well.
    this.#retryAt = undefined;
    const next = await nextEventSetAside(database, name);
    if (next !== undefined) this.expect(next);
  }

  async #retry(aside: EventSetAside): Promise<void> {
    const { database, loader, name, rooms, take } = this.#options;
    const room = await rooms.byNid(aside.room);
    const event = room && (await loader.one(room, aside.event));
    try {
      if (room !== undefined && event !== undefined) await take([{ room, event, isLate: true }]);
    } catch (err) {
      if (isOfDatabase(err)) throw err;
      await this.#setAside({ ...aside, tries: Math.min(aside.tries + 1, TRIES) }, err);
      return;
    }
    await forgetEventSetAside(database, name, aside.event);
  }

  async #setAside(aside: EventSetAside, err: unknown): Promise<void> {
    const { clock, database, logger, name } = this.#options;
    const isGivenUp = aside.tries >= TRIES;
    const retryAt = isGivenUp ? undefined : clock.now() + FIRST_PAUSE_MS * 4 ** (aside.tries - 1);
    await setAside(database, name, aside, retryAt ?? null);
    if (retryAt !== undefined) this.expect(retryAt);
    const fields = { follower: name, room_nid: aside.room, event_nid: aside.event, tries: aside.tries, err };
    if (isGivenUp) {
      this.#givenUp.inc({ follower: name });
      logger.error('an event could not be processed, and is not tried again before the next start', fields);
    } else {
      logger.warn('an event could not be processed; the others are processed, and it is tried again', fields);
    }
  }
}
