import { Background, Ongoing } from '#src/kernel/concurrency/background.ts';
import type { Clock } from '#src/kernel/clock.ts';
import { EarliestTimer } from '#src/kernel/earliest-timer.ts';
import type { Logger } from '#src/kernel/logger.ts';
import { SerialByKey } from '#src/kernel/concurrency/serial.ts';
import type { Timers } from '#src/kernel/timers.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { Database } from '#src/storage/database.ts';
import { isConnectionLoss } from '#src/storage/failures.ts';
import {
  type DelayedEventRecord,
  dueDelayedEvents,
  finaliseDelayedEvent,
  lookLater,
  moveDelayedEventsOn,
  nextDelayedLook,
} from '#src/storage/rooms/delayed-events.ts';
import type { DelayedSending } from './delayed-sending.ts';
import type { DelayedEventLocks } from './delayed-event-locks.ts';

/** Delayed events that are in memory at once. */
export const BATCH_SIZE = 200;
const MOVED_AT_ONCE = 1_000;
/** Between two looks at the least: in calls there is always an event whose time would be up but for a restart. */
const PAUSE_MS = 50;
/** The clock may have been set meanwhile. "Homeservers MAY add up to 30 seconds to the scheduled send time." */
const MAX_WAIT_MS = 30_000;
const RETRY_MS = 2_000;
/** How often something that fails for no good reason is tried, each time after twice the pause. */
const ATTEMPTS = 8;

export interface DelayedScheduleOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly logger: Logger;
  readonly sending: Pick<DelayedSending, 'send'>;
  readonly turns: DelayedEventLocks;
}

/**
 * Sends delayed events when their time has come: those of a room one after the other, in the order of their times. All of them lie in
 * the database; one timer waits for the next.
 */
export class DelayedSchedule {
  readonly #options: DelayedScheduleOptions;
  readonly #rooms = new SerialByKey<string>();
  /** Those that are being sent. */
  readonly #inHand = new Ongoing<string>();
  readonly #failures = new Map<string, number>();
  readonly #looking: Background;
  readonly #nextLook: EarliestTimer;
  /** By the clock that nobody sets. */
  #lastLook = -Infinity;
  #isClosed = false;

  constructor(options: DelayedScheduleOptions) {
    this.#options = options;
    this.#looking = new Background(
      'delayed events',
      () => this.#look(),
      (err) => {
        options.logger.error('delayed events could not be read; trying again', { err });
        this.#wake(options.clock.now() + RETRY_MS);
      },
    );
    this.#nextLook = new EarliestTimer(options.clock, options.timers, () => this.#looking.wake());
  }

  /** Sends what became due while the server was down, and waits for the rest. To be called once the writer owns its shards. */
  start(): void {
    this.#looking.wake();
  }

  /** Says that there is something to send at this time. */
  expect(at: number): void {
    this.#wake(at);
  }

  /** Resolves when everything that was being sent is sent, or will be tried later. */
  async idle(): Promise<void> {
    while (this.#looking.isRunning || this.#inHand.size > 0) {
      await this.#looking.idle();
      await this.#inHand.idle();
    }
  }

  /** Begins nothing new, and waits for what is being sent. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#nextLook.cancel();
    await this.#looking.close();
    await this.idle();
  }

  /** Looks at this time, unless it does so earlier. */
  #wake(at: number): void {
    if (this.#isClosed) return;
    const { clock } = this.#options;
    const rest = this.#lastLook + PAUSE_MS - clock.monotonic();
    this.#nextLook.within(Math.min(Math.max(at - clock.now(), rest, 0), MAX_WAIT_MS));
  }

  async #look(): Promise<void> {
    this.#nextLook.cancel();
    this.#lastLook = this.#options.clock.monotonic();
    this.#wake((await this.#sendDue()) ?? Infinity);
  }

  /** @returns when to look again */
  async #sendDue(): Promise<number | undefined> {
    const { clock, database, turns } = this.#options;
    let moved = MOVED_AT_ONCE;
    while (moved === MOVED_AT_ONCE && !this.#isClosed)
      moved = await moveDelayedEventsOn(database, clock.now(), MOVED_AT_ONCE);
    for (let read = BATCH_SIZE; read === BATCH_SIZE && !this.#isClosed;) {
      while (this.#inHand.size >= BATCH_SIZE) await this.#inHand.next();
      const inHand = this.#inHand.names();
      read = 0;
      const due = await turns.untouched(async () => {
        const found = await dueDelayedEvents(database, clock.now(), inHand, BATCH_SIZE);
        read = found.length;
        return found;
      });
      for (const record of due) this.#take(record);
    }
    return nextDelayedLook(database, this.#inHand.names());
  }

  #take(record: DelayedEventRecord): void {
    const { turns } = this.#options;
    const id = record.delay_id;
    const sent = turns
      .take(id, () => this.#rooms.run(record.room_id, () => this.#send(record)))
      .catch((err: unknown) => {
        this.#options.logger.error('a delayed event could not be sent; trying again', { err });
        this.expect(this.#options.clock.now() + RETRY_MS);
      });
    this.#inHand.add(id, sent);
  }

  async #send(record: DelayedEventRecord): Promise<void> {
    if (this.#isClosed) return;
    const { clock, database, sending } = this.#options;
    const id = record.delay_id;
    let error: MatrixError | undefined;
    try {
      error = await sending.send(record);
    } catch (err) {
      const tried = (this.#failures.get(id) ?? 0) + (isConnectionLoss(err) || err instanceof MatrixError ? 0 : 1);
      if (tried < ATTEMPTS) {
        await this.#tryLater(id, tried, err);
        return;
      }
      this.#options.logger.error('a delayed event fails again and again, and is given up', { err, given_up: true });
      error = new MatrixError('M_UNKNOWN', 'The server failed to send this event.', {}, 500);
    }
    this.#failures.delete(id);
    if (error !== undefined)
      await finaliseDelayedEvent(database, id, { ts: clock.now(), error: JSON.stringify(error.toBody()) });
  }

  async #tryLater(id: string, tried: number, err: unknown): Promise<void> {
    const { clock, database, logger } = this.#options;
    if (this.#isClosed) return;
    logger.warn('a delayed event could not be sent; trying again', { err });
    this.#failures.set(id, tried);
    const at = clock.now() + RETRY_MS * 2 ** tried;
    await lookLater(database, id, at);
    this.expect(at);
  }
}
