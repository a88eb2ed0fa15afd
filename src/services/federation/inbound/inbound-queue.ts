import { doing, Work } from '#src/kernel/work.ts';
import type { Pdu } from '#src/protocol/events/pdu.ts';
import type { RoomEventStream } from '#src/services/events/stream/room-event-stream.ts';
import { eventIdText } from '#src/services/room-model/event/event-ids.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { Database } from '#src/storage/database.ts';
import {
  finishEvents,
  finishEventsOfRoom,
  type InboundEventRecord,
  nextEvents,
  waitingEvents,
} from '#src/storage/federation/inbound.ts';
import { EventsBehindGaps, type NextBehindGap } from './events-behind-gaps.ts';
import {
  InboundReceiving,
  type InboundReceivingOptions,
  MAX_ASKING_MS,
  type WaitingEvent,
} from './inbound-receiving.ts';
import type { InboundStateLimiter } from './inbound-state-limiter.ts';
import { type Aside, RoomLine } from './room-line.ts';

export interface InboundQueueOptions extends InboundReceivingOptions {
  readonly database: Database;
  readonly rooms: RoomRegistry;
  readonly stateLimiter: InboundStateLimiter;
  /** Publishes events that came into rooms by other ways. */
  readonly stream: Pick<RoomEventStream, 'on'>;
  /** Whether the last request to a server failed to reach it. */
  readonly isAway: (serverName: string) => boolean;
}

/** Events of a room that are received together, before the next room has its turn. */
const BATCH = 100;
/** First and longest pause before an unreachable server is asked again. */
const MIN_PAUSE_MS = 1_000;
const MAX_PAUSE_MS = 30_000;
/** Shortest such wait in each process, also for events that waited while this server was down: the other one may be unreachable at its start. */
const MIN_WAITING_MS = 2 * MAX_PAUSE_MS;
/** Events of a room that are kept in memory; the others are read when their turn comes. */
const MAX_HELD = 4_000;
/** Events of one origin that may wait for one room, and in all. Beyond that it is asked to retry later. */
const MAX_PER_ORIGIN_AND_ROOM = 1_000;
const MAX_PER_ORIGIN = 5_000;
/** Pause after a failure of the database. */
const RETRY_MS = 1_000;

/**
 * Receives acknowledged events in their rooms: those of a room in the order of their arrival, rooms in turn. Events with missing prev or auth
 * events wait aside while these are fetched, so that a server that answers slowly, or not at all, delays its own events only. Events stay in the
 * database until they are judged, so that a kill loses none.
 */
export class InboundQueue {
  readonly #options: InboundQueueOptions;
  readonly #lines = new Map<number, RoomLine>();
  readonly #counts = new Map<string, number>();
  readonly #closing = new AbortController();
  readonly #receiving: InboundReceiving;
  #heldCount = 0;

  constructor(options: InboundQueueOptions) {
    this.#options = options;
    this.#receiving = new InboundReceiving(options, this.#closing.signal);
    options.stream.on('completed', ({ room }) => {
      const line = this.#lines.get(room.nid);
      for (const [origin, aside] of line?.aside ?? [])
        if (line !== undefined) this.#wakeAside(room, line, origin, aside);
    });
    options.stream.on('appended', ({ events, room }) => {
      for (const { event } of events) this.#came(room, event.eventId);
    });
    options.stream.on('stored', ({ eventIds, room }) => {
      for (const eventId of eventIds) this.#came(room, eventId);
    });
    options.metrics.gaugeOf(
      'tsudoi_federation_waiting_events',
      'Events of other servers that wait for their rooms.',
      () => {
        let sum = 0;
        for (const count of this.#counts.values()) sum += count;
        return sum;
      },
    );
  }

  /** Resumes the events that an earlier process left. */
  async start(): Promise<void> {
    for (const { events, origin, room } of await waitingEvents(this.#options.database)) {
      const line = this.#line(room);
      line.hasMore = true;
      this.#count(line, origin, events);
    }
    for (const [room, line] of this.#lines) this.#wake(room, line);
  }

  /** Whether a server has to wait with more events: for one of these rooms, or in all. */
  isFull(origin: string, rooms: Iterable<number>): boolean {
    if ((this.#counts.get(origin) ?? 0) >= MAX_PER_ORIGIN) return true;
    for (const room of rooms)
      if (this.#isFullOf(origin, room) && !this.#options.stateLimiter.isSlowed(room)) return true;
    return false;
  }

  /**
   * Whether a room whose events wait for long has no place for more events of an origin. Its events for other rooms must not wait for that; the
   * dropped events are fetched when the next event of the room has a place.
   */
  isClogged(origin: string, room: number): boolean {
    return this.#options.stateLimiter.isSlowed(room) && this.#isFullOf(origin, room);
  }

  #isFullOf(origin: string, room: number): boolean {
    return (this.#lines.get(room)?.counts.get(origin) ?? 0) >= MAX_PER_ORIGIN_AND_ROOM;
  }

  /** Adds events that were just stored. */
  add(room: number, events: readonly WaitingEvent[]): void {
    if (events.length === 0) return;
    const line = this.#line(room);
    for (const event of events) {
      this.#count(line, event.origin, 1);
      // Places are assigned before the commit: one may arrive after a later one was read.
      const isOvertaken = event.seq <= line.lastSeq;
      if (!isOvertaken && (line.hasMore || this.#heldCount >= MAX_HELD)) {
        line.hasMore = true;
        continue;
      }
      line.held.push(event);
      line.lastSeq = Math.max(line.lastSeq, event.seq);
      this.#heldCount++;
    }
    this.#wake(room, line);
  }

  /** Resolves when nothing waits any more. */
  async idle(): Promise<void> {
    for (let [running] = this.#running(); running !== undefined; [running] = this.#running()) await running;
  }

  /** Finishes the batches being received, and leaves the rest to the next process. */
  async close(): Promise<void> {
    this.#closing.abort();
    for (const { aside } of this.#lines.values()) for (const { timer } of aside.values()) timer?.cancel();
    await this.idle();
  }

  #running(): Promise<void>[] {
    return [...this.#lines.values()].flatMap(({ aside, running }) =>
      [running, ...[...aside.values()].map((one) => one.running)].filter((one) => one !== undefined),
    );
  }

  #line(room: number): RoomLine {
    const known = this.#lines.get(room) ?? new RoomLine();
    this.#lines.set(room, known);
    return known;
  }

  #count(line: RoomLine, origin: string, by: number): void {
    for (const counts of [line.counts, this.#counts]) {
      const count = (counts.get(origin) ?? 0) + by;
      if (count > 0) counts.set(origin, count);
      else counts.delete(origin);
    }
    if (!this.#counts.has(origin)) this.#receiving.forget(origin);
  }

  #wake(room: number, line: RoomLine): void {
    if (line.running !== undefined || this.#closing.signal.aborted) return;
    line.running = doing(new Work('receive events'), () => this.#run(room, line)).finally(() => {
      line.running = undefined;
      if (line.held.length > 0 || line.hasMore) this.#wake(room, line);
      else this.#dropIfEmpty(room, line);
    });
  }

  #dropIfEmpty(room: number, line: RoomLine): void {
    const isOver = line.running === undefined && line.aside.size === 0 && line.held.length === 0 && !line.hasMore;
    if (!isOver || this.#lines.get(room) !== line) return;
    this.#lines.delete(room);
    this.#options.stateLimiter.forget(room);
  }

  async #run(roomNid: number, line: RoomLine): Promise<void> {
    const { logger, stateLimiter, rooms, timers } = this.#options;
    const { signal } = this.#closing;
    while (!signal.aborted && (line.held.length > 0 || line.hasMore)) {
      try {
        const room = await rooms.byNid(roomNid);
        if (room === undefined) {
          await this.#forget(roomNid, line);
          return;
        }
        const pauseMs = stateLimiter.pauseMs(room);
        if (pauseMs > 0) {
          await timers.sleep(Math.min(pauseMs, MAX_PAUSE_MS), signal);
          continue;
        }
        const batch = await this.#next(room, line, stateLimiter.isTight(room) ? 1 : BATCH);
        const done = await this.#receive(room, line, batch).finally(() => stateLimiter.count(room));
        if (signal.aborted) return;
        await this.#finish(line, batch, done);
      } catch (err) {
        if (signal.aborted) return;
        logger.warn('remote events wait for the database', { err, room: roomNid });
        // The events in memory were taken out: all of them are in the database.
        this.#dropHeld(line);
        await timers.sleep(RETRY_MS, signal);
      }
    }
  }

  /** The room was deleted: its waiting events are deleted, too. */
  async #forget(room: number, line: RoomLine): Promise<void> {
    await finishEventsOfRoom(this.#options.database, room);
    this.#dropHeld(line);
    line.hasMore = false;
    for (const [origin, count] of [...line.counts]) this.#count(line, origin, -count);
  }

  /** The next events of a room, from memory or the database. */
  async #next(room: Room, line: RoomLine, most: number): Promise<readonly WaitingEvent[]> {
    if (line.held.length > 0) return line.held.slice(0, most);
    const records = await nextEvents(this.#options.database, room.nid, line.lastSeq, most);
    line.lastSeq = records.at(-1)?.seq ?? line.lastSeq;
    if (records.length < most) line.hasMore = false;
    return records.filter(({ seq }) => !line.isAside(seq)).map((record) => waitingEvent(room, record));
  }

  /** @param done those of the batch that are finished */
  async #finish(line: RoomLine, batch: readonly WaitingEvent[], done: readonly WaitingEvent[]): Promise<void> {
    if (batch.length === 0) return;
    await this.#remove(line, done);
    if (line.held[0]?.seq === batch[0]?.seq) {
      line.held.splice(0, batch.length);
      this.#heldCount -= batch.length;
    }
  }

  async #remove(line: RoomLine, done: readonly WaitingEvent[]): Promise<void> {
    if (done.length === 0) return;
    await finishEvents(
      this.#options.database,
      done.map(({ seq }) => seq),
    );
    for (const { origin } of done) this.#count(line, origin, -1);
  }

  #dropHeld(line: RoomLine): void {
    this.#heldCount -= line.held.length;
    line.held.length = 0;
    line.lastSeq = 0;
    line.hasMore = true;
  }

  /** @returns those that are finished; the others wait aside */
  async #receive(room: Room, line: RoomLine, batch: readonly WaitingEvent[]): Promise<readonly WaitingEvent[]> {
    if (!(await this.#receiving.askPolicyServer(room, batch))) return [];
    const arrived = line.watch();
    const receptions = await this.#receiving.receiveAll(room, batch).finally(() => line.unwatch(arrived));
    const missing = new Map<WaitingEvent, readonly string[]>();
    for (const [index, waiting] of batch.entries()) {
      const reception = receptions[index];
      if (reception?.outcome === 'missing') missing.set(waiting, reception.ids);
      else if (reception !== undefined) this.#receiving.note(room, waiting, reception);
    }
    for (const [waiting, lacks] of missing) this.#standAside(room, line, waiting, lacks);
    if (missing.size > 0) for (const eventId of arrived) this.#wakeFor(room, line, eventId);
    return batch.filter((waiting) => !missing.has(waiting));
  }

  #standAside(room: Room, line: RoomLine, { origin, receivedTs, seq }: WaitingEvent, lacks: readonly string[]): void {
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
    this.#wakeAside(room, line, origin, aside);
  }

  /** An event has arrived: events that were missing it are tried, even while their origin is unreachable. */
  #came(room: Room, eventId: string): void {
    const line = this.#lines.get(room.nid);
    if (line === undefined) return;
    line.came(eventId);
    this.#wakeFor(room, line, eventId);
  }

  #wakeFor(room: Room, line: RoomLine, eventId: string): void {
    for (const [origin, aside] of line.aside)
      if (aside.events.came(eventId)) this.#runAsideNow(room, line, origin, aside);
  }

  /** Asks their origin for the missing events of the first one. */
  #wakeAside(room: Room, line: RoomLine, origin: string, aside: Aside): void {
    aside.timer?.cancel();
    aside.timer = undefined;
    aside.events.isDue = true;
    this.#runAsideNow(room, line, origin, aside);
  }

  #runAsideNow(room: Room, line: RoomLine, origin: string, aside: Aside): void {
    if (this.#closing.signal.aborted) return;
    aside.running ??= doing(new Work('receive events'), () => this.#runAside(room, line, aside)).finally(() => {
      aside.running = undefined;
      if (aside.events.size === 0) {
        aside.timer?.cancel();
        line.aside.delete(origin);
      } else if (aside.events.hasNext) this.#runAsideNow(room, line, origin, aside);
      else if (!this.#closing.signal.aborted) this.#wakeLater(room, line, origin, aside);
      this.#dropIfEmpty(room.nid, line);
    });
  }

  /** Their origin has the missing events, but is unreachable. */
  #wakeLater(room: Room, line: RoomLine, origin: string, aside: Aside): void {
    if (aside.timer !== undefined) return;
    aside.timer = this.#options.timers.after(aside.pauseMs, () => this.#wakeAside(room, line, origin, aside));
    aside.pauseMs = Math.min(2 * aside.pauseMs, MAX_PAUSE_MS);
  }

  /** Ends when none is left, or their origin is unreachable. */
  async #runAside(room: Room, line: RoomLine, aside: Aside): Promise<void> {
    const { database, logger, stateLimiter, timers } = this.#options;
    const { signal } = this.#closing;
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
          await this.#remove(line, [waiting]);
          if (!isReady) aside.pauseMs = MIN_PAUSE_MS;
        }
        events.delete(seq);
      } catch (err) {
        if (signal.aborted) return;
        if (isReady) events.tryAgain(seq);
        logger.warn('remote events wait for the database', { err, room: room.nid });
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
    if (!(await this.#receiving.askPolicyServer(room, [waiting]))) return true;
    const arrived = line.watch();
    const again = await this.#receiving.receive(room, waiting).finally(() => line.unwatch(arrived));
    if (again === undefined) return true;
    if (again.outcome !== 'missing') {
      this.#receiving.note(room, waiting, again);
      return true;
    }
    events.lacks(seq, again.ids);
    for (const eventId of arrived) events.came(eventId);
    // Further events are missing, and its origin was asked for them.
    if (isReady && isAway(origin)) return false;
    try {
      const last = (await this.#receiving.closeGap(room, waiting)) ?? again;
      // Events that wait for the full state of their room do not count against their origin.
      if (last.outcome === 'missing' && room.partial !== undefined) return false;
      // It was acknowledged, so it must not be lost because its origin is unreachable for a moment.
      if (last.outcome === 'missing' && !isLast && isAway(origin)) return false;
      this.#receiving.note(room, waiting, last);
    } catch (err) {
      this.#receiving.failed(room, waiting, err, 'the missing events of a remote event could not be received');
    }
    return true;
  }
}

const waitingEvent = (
  { version }: Room,
  { event_id: id, json, origin, received_ts: receivedTs, seq }: InboundEventRecord,
): WaitingEvent => ({
  seq,
  origin,
  event: { eventId: eventIdText(version, id), pdu: JSON.parse(json) as Pdu },
  receivedTs,
});
