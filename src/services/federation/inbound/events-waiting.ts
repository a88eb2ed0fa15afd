import type { Clock } from '#src/kernel/clock.ts';
import type { Logger } from '#src/kernel/logger.ts';
import type { Timers } from '#src/kernel/timers.ts';
import { doing, Work } from '#src/kernel/event-loop/work.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { Database } from '#src/storage/database.ts';
import { nextEvents } from '#src/storage/federation/inbound.ts';
import { EventsBehindGaps, type NextBehindGap } from './events-behind-gaps.ts';
import { type InboundReceiving, MAX_ASKING_MS, type WaitingEvent, waitingEvent } from './inbound-receiving.ts';
import type { InboundStateLimiter } from './inbound-state-limiter.ts';
import type { Aside, RoomLine } from './room-line.ts';

/** First and longest pause before an unreachable server is asked again. */
const MIN_PAUSE_MS = 1_000;
export const MAX_PAUSE_MS = 30_000;
/** Shortest such wait in each process, also for events that waited while this server was down: the other one may be unreachable at its start. */
const MIN_WAITING_MS = 2 * MAX_PAUSE_MS;
/** Pause after a failure of the database. */
export const RETRY_MS = 1_000;

export interface EventsWaitingOptions {
  readonly database: Database;
  readonly receiving: InboundReceiving;
  readonly stateLimiter: InboundStateLimiter;
  /** Whether the last request to a server failed to reach it. */
  readonly isAway: (serverName: string) => boolean;
  /** Removes events that were judged from the queue. */
  readonly finish: (line: RoomLine, done: readonly WaitingEvent[]) => Promise<void>;
  /** Nothing of a room waits here any more. */
  readonly rested: (room: number, line: RoomLine) => void;
  /** Aborted when the server stops. */
  readonly signal: AbortSignal;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly logger: Logger;
}

/**
 * Events with missing prev or auth events, which wait aside while these are fetched: those of one room and origin for that origin alone, so that a
 * server that answers slowly, or not at all, delays its own events only.
 */
export class EventsWaiting {
  readonly #options: EventsWaitingOptions;

  constructor(options: EventsWaitingOptions) {
    this.#options = options;
  }

  /** An event waits for its missing events. @param lacks their ids */
  add(room: Room, line: RoomLine, { origin, receivedTs, seq }: WaitingEvent, lacks: readonly string[]): void {
    const { clock } = this.#options;
    const fresh: Aside = {
      events: new EventsBehindGaps(),
      running: undefined,
      timer: undefined,
      pauseMs: MIN_PAUSE_MS,
    };
    const aside = line.aside.get(origin) ?? fresh;
    line.aside.set(origin, aside);
    const left = receivedTs + MAX_ASKING_MS - clock.now();
    const waits = Math.min(Math.max(left, MIN_WAITING_MS), MAX_ASKING_MS);
    aside.events.add(seq, clock.monotonic() + waits, lacks);
    this.#wake(room, line, origin, aside);
  }

  /** An event has arrived: events that were missing it are tried, even while their origin is unreachable. */
  came(room: Room, line: RoomLine, eventId: string): void {
    for (const [origin, aside] of line.aside) if (aside.events.came(eventId)) this.#runNow(room, line, origin, aside);
  }

  /** The full state of a room is known: all of them are tried. */
  completed(room: Room, line: RoomLine): void {
    for (const [origin, aside] of line.aside) this.#wake(room, line, origin, aside);
  }

  /** Asks their origin for the missing events of the first one. */
  #wake(room: Room, line: RoomLine, origin: string, aside: Aside): void {
    aside.timer?.cancel();
    aside.timer = undefined;
    aside.events.isDue = true;
    this.#runNow(room, line, origin, aside);
  }

  #runNow(room: Room, line: RoomLine, origin: string, aside: Aside): void {
    if (this.#options.signal.aborted) return;
    aside.running ??= doing(new Work('receive events'), () => this.#run(room, line, aside)).finally(() => {
      aside.running = undefined;
      if (aside.events.size === 0) {
        aside.timer?.cancel();
        line.aside.delete(origin);
      } else if (aside.events.hasNext) this.#runNow(room, line, origin, aside);
      else if (!this.#options.signal.aborted) this.#wakeLater(room, line, origin, aside);
      this.#options.rested(room.nid, line);
    });
  }

  /** Their origin has the missing events, but is unreachable. */
  #wakeLater(room: Room, line: RoomLine, origin: string, aside: Aside): void {
    if (aside.timer !== undefined) return;
    aside.timer = this.#options.timers.after(aside.pauseMs, () => this.#wake(room, line, origin, aside));
    aside.pauseMs = Math.min(2 * aside.pauseMs, MAX_PAUSE_MS);
  }

  /** Ends when none is left, or their origin is unreachable. */
  async #run(room: Room, line: RoomLine, aside: Aside): Promise<void> {
    const { database, finish, logger, signal, stateLimiter, timers } = this.#options;
    const { events } = aside;
    while (!signal.aborted) {
      const pauseMs = events.hasNext ? stateLimiter.pauseMs(room) : 0;
      if (pauseMs > 0) {
        await timers.sleep(Math.min(pauseMs, MAX_PAUSE_MS), signal);
        continue;
      }
      const next = events.next();
      if (next === undefined) return;
      const { isReady, seq } = next;
      try {
        const [record] = await nextEvents(database, room.nid, seq - 1, 1);
        if (record?.seq === seq) {
          const waiting = waitingEvent(room, record);
          const isOver = await this.#receiveAfterGap(room, line, waiting, events, next).finally(() =>
            stateLimiter.count(room),
          );
          if (signal.aborted) return;
          if (!isOver) {
            // Those after it need the same server.
            if (!isReady) events.isDue = false;
            continue;
          }
          await finish(line, [waiting]);
          if (!isReady) aside.pauseMs = MIN_PAUSE_MS;
        }
        events.delete(seq);
      } catch (err) {
        if (signal.aborted) return;
        if (isReady) events.tryAgain(seq);
        logger.warn('remote events wait for the database', { err, room_id: room.roomId });
        await timers.sleep(RETRY_MS, signal);
      }
    }
  }

  /**
   * Prev or auth events are missing: they may have arrived meanwhile, or are fetched.
   *
   * @returns false when the event waits: for its server, which is away, or for the state of the room
   */
  async #receiveAfterGap(
    room: Room,
    line: RoomLine,
    waiting: WaitingEvent,
    events: EventsBehindGaps,
    { isReady, until }: NextBehindGap,
  ): Promise<boolean> {
    const { clock, isAway } = this.#options;
    const { origin, seq } = waiting;
    const isLast = clock.monotonic() >= until;
    if (!(await this.#options.receiving.askPolicyServer(room, [waiting]))) return true;
    const arrived = line.watch();
    const again = await this.#options.receiving.receive(room, waiting).finally(() => line.unwatch(arrived));
    if (again === undefined) return true;
    if (again.outcome !== 'missing') {
      this.#options.receiving.note(room, waiting, again);
      return true;
    }
    events.lacks(seq, again.ids);
    for (const eventId of arrived) events.came(eventId);
    // Further events are missing, and its origin was asked for them.
    if (isReady && isAway(origin)) return false;
    try {
      const last = (await this.#options.receiving.closeGap(room, waiting)) ?? again;
      // Events that wait for the full state of their room do not count against their origin.
      if (last.outcome === 'missing' && room.partial !== undefined) return false;
      // It was acknowledged, so it must not be lost because its origin is unreachable for a moment.
      if (last.outcome === 'missing' && !isLast && isAway(origin)) return false;
      this.#options.receiving.note(room, waiting, last);
    } catch (err) {
      this.#options.receiving.failed(room, waiting, err, 'the missing events of a remote event could not be received');
    }
    return true;
  }
}
