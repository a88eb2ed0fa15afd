import { LRUCache } from 'lru-cache';
import { Ongoing } from '#src/kernel/concurrency/background.ts';
import { atMost } from '#src/kernel/caches/at-most.ts';
import type { Clock } from '#src/kernel/clock.ts';
import { FairGate } from '#src/kernel/limits/fair-gate.ts';
import { Gate } from '#src/kernel/limits/gate.ts';
import type { Logger } from '#src/kernel/logger.ts';
import type { Counter, Metrics } from '#src/kernel/metrics.ts';
import type { Timer, Timers } from '#src/kernel/timers.ts';
import { SerialByKey } from '#src/kernel/concurrency/serial.ts';
import { doing, Work } from '#src/kernel/event-loop/work.ts';
import { domainOf, isServerName } from '#src/protocol/identifiers/server-name.ts';
import { isEventId } from '#src/protocol/identifiers/identifiers.ts';
import { EVENT_FLAGS } from '#src/protocol/events/event-flags.ts';
import { type IdentifiedPdu, referencedIds } from '#src/protocol/events/pdu.ts';
import type { HistoryApi } from '#src/remote/federation/history-api.ts';
import type { BackfillReceiver } from '#src/services/events/receiving/backfill-receiver.ts';
import type { RoomEventStream } from '#src/services/events/stream/room-event-stream.ts';
import type { GapCloser } from '#src/services/federation/inbound/inbound-receiving.ts';
import type { FailedFetches } from '#src/services/federation/inbound/failed-fetches.ts';
import type { RoomFetcher } from '#src/services/federation/inbound/room-fetcher.ts';
import type { PastSource } from '#src/services/reading/history/past-source.ts';
import { eventIdText } from '#src/services/room-model/event/event-ids.ts';
import type { WholeState } from '#src/services/room-model/room/whole-state.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { Database } from '#src/storage/database.ts';
import { firstAnswers } from './first-answers.ts';
import { backwardExtremities, hasBackwardExtremities } from '#src/storage/federation/backward-extremities.ts';

export interface BackfillOptions {
  readonly database: Database;
  readonly rooms: Pick<RoomRegistry, 'byNid'>;
  readonly history: Pick<HistoryApi, 'backfill' | 'eventByTime'>;
  readonly fetcher: RoomFetcher;
  readonly past: BackfillReceiver;
  /** Receives events that are newer than everything stored here. */
  readonly gaps: GapCloser;
  readonly stream: RoomEventStream;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly wholeState: Pick<WholeState, 'within'>;
  readonly failedFetches: FailedFetches;
}

/** Events that are asked for at once. */
const PAGE_LENGTH = 100;
/** Missing events from which servers are asked to go back. */
export const MAX_ENDS = 5;
/** Events at whose place the state is asked for. */
const MAX_STATES = 5;
/** Servers that are asked for the same. */
export const MAX_SERVERS = 4;
/** Rooms that are filled behind the requests at the same time. */
const BACKGROUND = 2;
/** After how long a room is asked about again whose history nobody had: doubled each time. */
const FIRST_PAUSE_MS = 60_000;
const MAX_PAUSE_MS = 3_600_000;
const REMEMBERED_ROOMS = 5_000;
/** Milliseconds for which a page waits for the state of a room that was just joined. */
const MAX_WAIT_MS = 20_000;
/** Milliseconds for which a page waits for what other servers have; then it shows what is here, and the next one finds what came. */
export const PAGE_MS = 10_000;
/** Pages for which others are asked at once: the answers are in memory. Users take turns; so many of one may wait. */
export const PAGES_AT_ONCE = 16;
/** Of those, for one user: other servers may be silent until the page's time is over. */
export const PAGES_OF_ONE = 4;
export const MAX_WAITING = 50;
/** How long after a join or a gap a room is filled behind the requests: who reads at once has it fetched at once, and what comes late may close the gap. */
const BACKFILL_DELAY_MS = 60_000;
/** Single events that are looked for in a room, in so many milliseconds, and servers that are asked for each. */
const MAX_LOOKS = 60;
const LOOKUP_WINDOW_MS = 60_000;
const MAX_LOOKED_AT = 2;
const FURTHEST = Number.MAX_SAFE_INTEGER;

interface Pause {
  readonly until: number;
  readonly lengthMs: number;
}

/**
 * Fetches events of rooms that are older than what is stored here: when a user reads that far, and a little of it in the background a while after a
 * room was joined, or a gap stayed open. Server-Server API, "Backfilling and retrieving missing events".
 */
export class Backfill implements PastSource {
  readonly #options: BackfillOptions;
  readonly #turns = new SerialByKey<number>();
  readonly #background = new Gate(BACKGROUND);
  readonly #pages = new FairGate({
    concurrency: PAGES_AT_ONCE,
    concurrencyOfOne: PAGES_OF_ONE,
    maxWaiting: MAX_WAITING,
  });
  readonly #running = new Ongoing();
  /** Rooms that will be backfilled in the background. */
  readonly #waiting = new Map<number, Timer>();
  readonly #pauses = new LRUCache<number, Pause>(atMost(REMEMBERED_ROOMS));
  readonly #looks = new LRUCache<number, { readonly count: number; readonly until: number }>(atMost(REMEMBERED_ROOMS));
  readonly #closing = new AbortController();
  readonly #filled: Counter;
  #asking = 0;

  constructor(options: BackfillOptions) {
    this.#options = options;
    this.#filled = options.metrics.counter('tsudoi_federation_backfilled_events_total', 'Events received by backfill.');
    options.stream.on('appended', ({ room, events }) => {
      // The states before what comes next are as large as what is being fetched.
      if (room.partial === undefined && events.some(({ event }) => (event.flags & EVENT_FLAGS.afterGap) !== 0))
        this.#later(room.nid);
    });
    options.stream.on('completed', ({ room }) => {
      this.#later(room.nid);
    });
  }

  async isOpen(room: Room): Promise<boolean> {
    // Where no other server is in the room, none has more of it.
    if (room.remoteServers().length === 0) return false;
    return hasBackwardExtremities(this.#options.database, room.nid);
  }

  async fill(room: Room, range: { readonly from: number; readonly to: number }, userId: string): Promise<boolean> {
    if (!(await this.#options.wholeState.within(room, MAX_WAIT_MS))) return false;
    const place = { party: userId, isPreferred: false };
    return this.#inTime(false, (signal) => {
      // The second request finds what the first one fetched. A request that was answered meanwhile needs nothing more.
      const inTurn = (): Promise<boolean> =>
        this.#turns.run(room.nid, async () => !signal.aborted && (await this.#fill(room, range, true)));
      return this.#pages
        .run(place, inTurn, () => new TooManyPagesError())
        .catch((error: unknown) => {
          if (!(error instanceof TooManyPagesError)) throw error;
          return false;
        });
    });
  }

  /** The result within the user's waiting time, or else `fallback`; the work then continues in the background, unless it observes the signal. */
  async #inTime<T>(without: T, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { promise: late, resolve } = Promise.withResolvers<T>();
    const isLate = new AbortController();
    this.#asking += 1;
    const timer = this.#options.timers.after(PAGE_MS, () => {
      isLate.abort();
      resolve(without);
    });
    const working = work(isLate.signal);
    this.#running.add(
      undefined,
      working.then(
        () => undefined,
        () => undefined,
      ),
    );
    return Promise.race([working, late]).finally(() => {
      timer.cancel();
      this.#asking -= 1;
    });
  }

  /** How many users wait for what other servers have. */
  get asking(): number {
    return this.#asking;
  }

  async nearest(room: Room, ts: number, dir: 'f' | 'b'): Promise<string | undefined> {
    if (!(await this.#options.wholeState.within(room, MAX_WAIT_MS))) return undefined;
    return this.#inTime(undefined, () => this.#nearest(room, ts, dir));
  }

  async #nearest(room: Room, ts: number, dir: 'f' | 'b'): Promise<string | undefined> {
    const { fetcher, history } = this.#options;
    for (const server of fetcher.serversOf(room, [], 2)) {
      const found = await history.eventByTime(server, room.roomId, ts, dir);
      if (!found.ok) continue;
      const { eventId } = found.value;
      const isHere = async (): Promise<boolean> => (await fetcher.unusable(room, [eventId])).length === 0;
      if (await isHere()) return eventId;
      // While it waited for its turn, another request may have fetched it.
      const fetch = async (): Promise<boolean> => (await isHere()) || this.#fetchAt(room, eventId, server);
      if (await this.#turns.run(room.nid, fetch)) return eventId;
    }
    return undefined;
  }

  async find(room: Room, eventId: string): Promise<boolean> {
    const { fetcher, failedFetches } = this.#options;
    if (!isEventId(eventId) || room.remoteServers().length === 0 || failedFetches.has(room.nid, eventId)) return false;
    if (!this.#mayLook(room.nid)) return false;
    const isHere = async (): Promise<boolean> => (await fetcher.unusable(room, [eventId])).length === 0;
    if (!(await this.#wholeOrArrived(room, eventId, isHere))) return false;
    const isFound = await this.#turns.run(room.nid, async () => {
      if (await isHere()) return true;
      for (const server of fetcher.serversOf(room, serverIn(eventId), MAX_LOOKED_AT))
        if (await this.#fetchAt(room, eventId, server)) return true;
      return isHere();
    });
    if (!isFound) failedFetches.note(room.nid, eventId);
    return isFound;
  }

  /**
   * Waits for the state of a room that was just joined, but no longer than until the event comes by itself.
   *
   * @returns false when neither happens
   */
  async #wholeOrArrived(room: Room, eventId: string, isHere: () => Promise<boolean>): Promise<boolean> {
    const { stream, wholeState } = this.#options;
    if (room.partial === undefined) return true;
    const { promise: arrived, resolve } = Promise.withResolvers<true>();
    const off = stream.on('appended', ({ events, room: its }) => {
      if (its === room && events.some(({ event }) => event.eventId === eventId)) resolve(true);
    });
    try {
      return (await isHere()) || (await Promise.race([wholeState.within(room, MAX_WAIT_MS), arrived]));
    } finally {
      off();
    }
  }

  /** Limits how often users who ask for unknown events make this server ask others. */
  #mayLook(roomNid: number): boolean {
    const now = this.#options.clock.now();
    const before = this.#looks.get(roomNid);
    const looks = before === undefined || now >= before.until ? { count: 0, until: now + LOOKUP_WINDOW_MS } : before;
    if (looks.count >= MAX_LOOKS) return false;
    this.#looks.set(roomNid, { ...looks, count: looks.count + 1 });
    return true;
  }

  /** Resolves when nothing is filled behind the requests. */
  idle(): Promise<void> {
    return this.#running.idle();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    for (const timer of this.#waiting.values()) timer.cancel();
    await this.idle();
  }

  #later(roomNid: number): void {
    if (this.#waiting.has(roomNid) || this.#waiting.size >= REMEMBERED_ROOMS) return;
    const timer = this.#options.timers.after(BACKFILL_DELAY_MS, () => {
      this.#waiting.delete(roomNid);
      this.#soon(roomNid);
    });
    this.#waiting.set(roomNid, timer);
  }

  #soon(roomNid: number): void {
    const { logger, rooms } = this.#options;
    const filling = doing(new Work('backfill'), () =>
      this.#background.run(async () => {
        try {
          const room = await rooms.byNid(roomNid);
          if (room === undefined || this.#closing.signal.aborted) return;
          await this.#turns.run(room.nid, () => this.#fill(room, { from: 0, to: FURTHEST }, false));
        } catch (err) {
          if (!this.#closing.signal.aborted) logger.warn('backfill of a room failed', { err, room_nid: roomNid });
        }
      }),
    );
    this.#running.add(undefined, filling);
  }

  /** @returns whether there is something that was not there before */
  async #fill(room: Room, range: { readonly from: number; readonly to: number }, isUrgent: boolean): Promise<boolean> {
    const { clock, database, fetcher, history, timers } = this.#options;
    const { signal } = this.#closing;
    const pause = this.#pauses.get(room.nid);
    if (pause !== undefined && clock.now() < pause.until) return false;
    const ends = await backwardExtremities(database, room.nid, range, MAX_ENDS);
    if (ends.length === 0) return false;
    const ids = ends.map(({ event_id: id }) => eventIdText(room.version, id));
    const ask = (server: string, giving: AbortSignal): ReturnType<HistoryApi['backfill']> =>
      history.backfill(server, room.roomId, ids, { limit: PAGE_LENGTH, isUrgent, signal: giving });
    const servers = fetcher.serversOf(room, [], MAX_SERVERS);
    for await (const { server, value } of firstAnswers(timers, servers, ask, signal)) {
      const events = await this.#pastOf(room, await fetcher.verified(room, value), ids);
      const count = await this.#receive(room, events, server);
      if (count === 0) continue;
      this.#pauses.delete(room.nid);
      this.#filled.inc({}, count);
      return true;
    }
    if (signal.aborted) return false;
    const lengthMs = Math.min(pause === undefined ? FIRST_PAUSE_MS : 2 * pause.lengthMs, MAX_PAUSE_MS);
    this.#pauses.set(room.nid, { until: clock.now() + lengthMs, lengthMs });
    return false;
  }

  /** Accepts what a server returned, with the state where it does not connect to what is here. */
  async #receive(room: Room, events: readonly IdentifiedPdu[], server: string): Promise<number> {
    const { fetcher, past } = this.#options;
    const given = new Set(events.map(({ eventId }) => eventId));
    const outside = events.flatMap(({ pdu }) => referencedIds(pdu.prev_events).filter((id) => !given.has(id)));
    const missing = new Set(await fetcher.unusable(room, outside));
    const isHere = new Set(await this.#here(room, [...given]));
    const open = events.filter(
      ({ eventId, pdu }) => !isHere.has(eventId) && referencedIds(pdu.prev_events).some((id) => missing.has(id)),
    );
    const statesBefore = new Map<string, readonly string[]>();
    for (const { eventId } of open.toSorted((a, b) => b.pdu.depth - a.pdu.depth).slice(0, MAX_STATES)) {
      const state = await fetcher.stateBefore(room, eventId, server, this.#closing.signal);
      if (state !== undefined) statesBefore.set(eventId, state);
    }
    await fetcher.fetchMissingAuth(room, events, server);
    return past.receive(room, events, statesBefore);
  }

  async #here(room: Room, ids: readonly string[]): Promise<readonly string[]> {
    const unusable = new Set(await this.#options.fetcher.unusable(room, ids));
    return ids.filter((id) => !unusable.has(id));
  }

  /** Fetches one event of a room's past, with the state before it: it may lie far from everything that is here. */
  async #fetchAt(room: Room, eventId: string, server: string): Promise<boolean> {
    const { fetcher, gaps } = this.#options;
    const event = await fetcher.event(room, eventId, [server]);
    if (event === undefined) return false;
    if (!(await this.#isNews(room, event))) return (await this.#receive(room, [event], server)) > 0;
    await gaps.close(room, event, server, this.#closing.signal);
    return (await fetcher.unusable(room, [eventId])).length === 0;
  }

  /**
   * Whether an event is on its way to this server, and was only requested before it arrived. Stored as an old event it would be in no
   * timeline, and a user who learns an id early could hide an event from all users here.
   */
  async #isNews(room: Room, { pdu }: IdentifiedPdu): Promise<boolean> {
    return pdu.depth >= room.headDepth || (await this.#options.fetcher.hasLive(room, referencedIds(pdu.prev_events)));
  }

  /** The events of an answer that lie before `ids`: otherwise a server could hide others' new events by answering with them. */
  async #pastOf(
    room: Room,
    events: readonly IdentifiedPdu[],
    ids: readonly string[],
  ): Promise<readonly IdentifiedPdu[]> {
    const given = new Map(events.map((event) => [event.eventId, event]));
    const before = new Set<string>();
    const open = [...ids];
    for (let id = open.pop(); id !== undefined; id = open.pop()) {
      const event = before.has(id) ? undefined : given.get(id);
      before.add(id);
      if (event !== undefined) open.push(...referencedIds(event.pdu.prev_events));
    }
    const past: IdentifiedPdu[] = [];
    for (const event of events) if (before.has(event.eventId) || !(await this.#isNews(room, event))) past.push(event);
    return past;
  }
}

/** So many pages of a user wait for other servers that one more is answered with what is here. */
class TooManyPagesError extends Error {}

/** Until room version 2 ids of events name the servers that made them. */
const serverIn = (eventId: string): readonly string[] => {
  const server = domainOf(eventId);
  return server !== undefined && isServerName(server) ? [server] : [];
};
