import { doing, Work } from '#src/kernel/event-loop/work.ts';
import type { RoomEventStream } from '#src/services/events/stream/room-event-stream.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { Database } from '#src/storage/database.ts';
import { finishEvents, finishEventsOfRoom, nextEvents, waitingEvents } from '#src/storage/federation/inbound.ts';
import { EventsWaiting, MAX_PAUSE_MS, RETRY_MS } from './events-waiting.ts';
import {
  InboundReceiving,
  type InboundReceivingOptions,
  type WaitingEvent,
  waitingEvent,
} from './inbound-receiving.ts';
import type { InboundStateLimiter } from './inbound-state-limiter.ts';
import { RoomLine } from './room-line.ts';

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
export const BATCH = 100;
/** Bytes of events of all rooms that are kept in memory, about; the others are read when their turn comes. */
export const MAX_HELD_BYTES = 32 * 1024 * 1024;
/** Events of one origin that may wait for one room, and in all. Beyond that it is asked to retry later. */
export const MAX_PER_ORIGIN_AND_ROOM = 1_000;
export const MAX_PER_ORIGIN = 5_000;

/**
 * Receives acknowledged events in their rooms: those of a room in the order of their arrival, rooms in turn. Events with missing prev or auth
 * events wait aside (`EventsWaiting`). Events stay in the
 * database until they are judged, so that a kill loses none.
 */
export class InboundQueue {
  readonly #options: InboundQueueOptions;
  readonly #lines = new Map<number, RoomLine>();
  readonly #counts = new Map<string, number>();
  readonly #closing = new AbortController();
  readonly #receiving: InboundReceiving;
  readonly #waiting: EventsWaiting;
  #heldBytes = 0;

  constructor(options: InboundQueueOptions) {
    this.#options = options;
    this.#receiving = new InboundReceiving(options, this.#closing.signal);
    this.#waiting = new EventsWaiting({
      ...options,
      receiving: this.#receiving,
      finish: (line, done) => this.#remove(line, done),
      rested: (room, line) => this.#dropIfEmpty(room, line),
      signal: this.#closing.signal,
    });
    options.stream.on('completed', ({ room }) => {
      const line = this.#lines.get(room.nid);
      if (line !== undefined) this.#waiting.completed(room, line);
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
      if (!isOvertaken && (line.hasMore || this.#heldBytes + sizeOf(event) > MAX_HELD_BYTES)) {
        line.hasMore = true;
        continue;
      }
      line.held.push(event);
      line.lastSeq = Math.max(line.lastSeq, event.seq);
      this.#heldBytes += sizeOf(event);
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

  #came(room: Room, eventId: string): void {
    const line = this.#lines.get(room.nid);
    if (line === undefined) return;
    line.came(eventId);
    this.#waiting.came(room, line, eventId);
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
        const { received, done } = await this.#receive(room, line, batch).finally(() => stateLimiter.count(room));
        if (signal.aborted) return;
        await this.#finish(line, received, done);
      } catch (err) {
        if (signal.aborted) return;
        logger.warn('remote events wait for the database', { err, room_nid: roomNid });
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
    const events = records.filter(({ seq }) => !line.isAside(seq)).map((record) => waitingEvent(room, record));
    // Those that are not received in this turn are held until the next one.
    for (const event of events) this.#heldBytes += sizeOf(event);
    line.held.unshift(...events);
    return events;
  }

  /**
   * @param received the first of those that are held
   * @param done those of them that are finished
   */
  async #finish(line: RoomLine, received: readonly WaitingEvent[], done: readonly WaitingEvent[]): Promise<void> {
    if (received.length === 0) return;
    await this.#remove(line, done);
    if (line.held[0]?.seq === received[0]?.seq) {
      for (const event of line.held.splice(0, received.length)) this.#heldBytes -= sizeOf(event);
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
    for (const event of line.held.splice(0)) this.#heldBytes -= sizeOf(event);
    line.lastSeq = 0;
    line.hasMore = true;
  }

  /** @returns the first of them, which were received in this turn, and of these the ones that are finished: the others wait aside */
  async #receive(
    room: Room,
    line: RoomLine,
    batch: readonly WaitingEvent[],
  ): Promise<{ readonly received: readonly WaitingEvent[]; readonly done: readonly WaitingEvent[] }> {
    if (!(await this.#receiving.askPolicyServer(room, batch))) return { received: [], done: [] };
    const arrived = line.watch();
    const receptions = await this.#receiving.receiveAll(room, batch).finally(() => line.unwatch(arrived));
    const missing = new Map<WaitingEvent, readonly string[]>();
    const received = batch.slice(0, receptions.length);
    for (const [index, waiting] of received.entries()) {
      const reception = receptions[index];
      if (reception?.outcome === 'missing') missing.set(waiting, reception.ids);
      else if (reception !== undefined) this.#receiving.note(room, waiting, reception);
    }
    for (const [waiting, lacks] of missing) this.#waiting.add(room, line, waiting, lacks);
    if (missing.size > 0) for (const eventId of arrived) this.#waiting.came(room, line, eventId);
    return { received, done: received.filter((waiting) => !missing.has(waiting)) };
  }
}

/** Bytes that a waiting event takes in memory, about: its text is in many pieces there. */
const sizeOf = ({ characters }: WaitingEvent): number => 500 + 3 * characters;
