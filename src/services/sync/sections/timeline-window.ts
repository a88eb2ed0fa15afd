import { EVENT_FLAGS } from '#src/protocol/events/event-flags.ts';
import type { Relation } from '#src/protocol/filters/event-predicate.ts';
import { encodeArrivalToken, encodeRoomToken, SHARDS } from '#src/protocol/wire/position.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { Database } from '#src/storage/database.ts';
import { newestEvents } from '#src/storage/room-model/event-reads.ts';

/** Which stretch of a room's stream a timeline is taken from. */
export interface WindowRequest {
  readonly room: Room;
  /** Events up to here are known to the client; 0 when it knows nothing of the room. */
  readonly after: number;
  readonly upTo: number;
}

/** How much a timeline has at most. */
export interface TimelineBounds {
  readonly limit: number;
  /** Of events as they are kept; whatever they are, the newest one is there. */
  readonly bytes: number;
}

/** The newest events of a stretch that pass a filter. */
export interface TimelineWindow {
  /** Oldest first. */
  readonly events: readonly StoredEvent[];
  /** There are more in the stretch than were wanted. */
  readonly limited: boolean;
  /** State events of the stretch that the filter took out, oldest first; known only as far as the stretch was read. */
  readonly hiddenState: readonly StoredEvent[];
}

/** Whether an event belongs into a timeline. */
export type TimelinePredicate = (event: StoredEvent, relations?: readonly Relation[]) => boolean;

type PrepareEvents = (events: readonly { readonly room: Room; readonly event: StoredEvent }[]) => Promise<void>;

/** Events that a filter may reject before the timeline counts as limited. */
const SEARCH_ROUNDS = 5;
const SEARCH_CHUNK = 200;

/** Reads timelines: from the ring where it reaches back far enough, else from the database, all rooms in one statement. */
export class TimelineReader {
  readonly #database: Database;
  readonly #loader: EventLoader;

  constructor(database: Database, loader: EventLoader) {
    this.#database = database;
    this.#loader = loader;
  }

  /**
   * @param bounds of each timeline
   * @param accepts undefined takes every event
   * @param prepare makes known what `accepts` has to know of events
   */
  async read(
    requests: readonly WindowRequest[],
    bounds: TimelineBounds,
    accepts: TimelinePredicate | undefined,
    prepare?: PrepareEvents,
  ): Promise<TimelineWindow[]> {
    const { limit } = bounds;
    const windows: (TimelineWindow | undefined)[] = requests.map((request) =>
      prepare === undefined ? fromRing(request, bounds, accepts) : undefined,
    );
    const missing = requests.filter((_, index) => windows[index] === undefined);
    if (missing.length > 0) {
      const chunk = accepts === undefined ? limit + 1 : Math.max(limit + 1, SEARCH_CHUNK);
      const read = await this.#newest(missing, chunk, bounds.bytes, prepare);
      for (const [index, request] of requests.entries()) {
        windows[index] ??= await this.#fromDatabase(
          request,
          read.get(request.room.nid) ?? [],
          chunk,
          bounds,
          accepts,
          prepare,
        );
      }
    }
    return windows.filter((window) => window !== undefined);
  }

  async #newest(
    requests: readonly WindowRequest[],
    count: number,
    bytes: number,
    prepare: PrepareEvents | undefined,
  ): Promise<Map<number, StoredEvent[]>> {
    const rooms = new Map(requests.map((request) => [request.room.nid, request.room]));
    const records = await newestEvents(
      this.#database,
      requests.map((request) => ({ room: request.room.nid, after: request.after, upTo: request.upTo })),
      count,
      bytes,
    );
    const events = await this.#loader.adopt(records, (nid) => rooms.get(nid));
    await prepare?.(
      events.flatMap((event) => {
        const room = rooms.get(event.room.nid);
        return room === undefined ? [] : [{ room, event }];
      }),
    );
    return Map.groupBy(events, (event) => event.room.nid);
  }

  /** @param first the newest events of the stretch, newest first */
  async #fromDatabase(
    request: WindowRequest,
    first: readonly StoredEvent[],
    chunk: number,
    bounds: TimelineBounds,
    accepts: TimelinePredicate | undefined,
    prepare: PrepareEvents | undefined,
  ): Promise<TimelineWindow> {
    const read = [...first];
    const isAll = (events: readonly StoredEvent[]): boolean => events.length < chunk && bytesOf(events) < bounds.bytes;
    let complete = isAll(first);
    extendRing(request, first, complete);
    for (let round = 1; accepts !== undefined && !complete && round < SEARCH_ROUNDS; round++) {
      if (count(read, accepts) > bounds.limit) break;
      const upTo = (read.at(-1)?.nid ?? request.upTo) - 1;
      const more =
        (await this.#newest([{ ...request, upTo }], chunk, bounds.bytes, prepare)).get(request.room.nid) ?? [];
      read.push(...more);
      complete = isAll(more);
    }
    return cut(read.toReversed(), bounds, accepts, !complete);
  }
}

/** What was read once for a longer timeline than the ring had is there for the next reader. */
const extendRing = (
  { room, after, upTo }: WindowRequest,
  newestFirst: readonly StoredEvent[],
  isComplete: boolean,
): void => {
  const { ring } = room;
  // Only without a hole between what was read and what is there.
  if (upTo < ring.floor) return;
  const older = newestFirst.filter((event) => event.nid <= ring.floor).toReversed();
  const [first] = older;
  if (first !== undefined) ring.extend(older, isComplete ? after : first.nid - 1);
};

const count = (events: readonly StoredEvent[], accepts: TimelinePredicate): number =>
  events.reduce((sum, event) => sum + (accepts(event) ? 1 : 0), 0);

const bytesOf = (events: readonly StoredEvent[]): number => events.reduce((sum, { json }) => sum + json.length, 0);

const fromRing = (
  request: WindowRequest,
  bounds: TimelineBounds,
  accepts: TimelinePredicate | undefined,
): TimelineWindow | undefined => {
  const { room, after, upTo } = request;
  const events = room.ring.between(after, upTo);
  if (events !== undefined) return cut(events, bounds, accepts, false);
  // Without a filter the end of the stretch is enough, wherever it begins.
  if (accepts !== undefined) return undefined;
  const newest = room.ring.newestUpTo(upTo, bounds.limit + 1)?.filter((event) => event.nid > after);
  return newest === undefined || newest.length <= bounds.limit ? undefined : cut(newest, bounds, undefined, true);
};

/**
 * The token for what lies before a timeline: all that had come until then. Before one that begins after a gap, or where a fork had been longer
 * than what came of it then, that is not what stands before it in the room's history.
 *
 * @param upTo the position up to which there was something to tell
 * @param told the same, where it goes into the token
 */
export const beginOfTimeline = (room: Room, first: StoredEvent | undefined, upTo: number, told?: number): string => {
  if (first === undefined) return encodeArrivalToken(upTo);
  if (isAfterGap(first)) return encodeArrivalToken(first.nid - SHARDS);
  const further = furthestBefore(room, first);
  if (further === undefined) return encodeRoomToken(first, { upTo: told });
  return encodeRoomToken({ topo: further.topo, nid: further.nid + 1 }, { upTo: told, within: first.nid - 1 });
};

/** Of the events that came before another one, the last that stands after it in the room's history. */
const furthestBefore = ({ ring }: Room, first: StoredEvent): StoredEvent | undefined => {
  let found: StoredEvent | undefined;
  for (const event of ring.events) {
    if (event.nid >= first.nid) break;
    if (event.topo > (found ?? first).topo || (event.topo === found?.topo && event.nid > found.nid)) found = event;
  }
  return found;
};

const isAfterGap = ({ flags }: StoredEvent): boolean => (flags & EVENT_FLAGS.afterGap) !== 0;

const cut = (
  stretch: readonly StoredEvent[],
  { limit, bytes }: TimelineBounds,
  accepts: TimelinePredicate | undefined,
  moreBeforeStretch: boolean,
): TimelineWindow => {
  // Events before and after a gap are not contiguous: the client must request the events in between.
  const gap = stretch.findLastIndex(isAfterGap);
  const events = gap < 0 ? stretch : stretch.slice(gap);
  const moreBefore = moreBeforeStretch || gap >= 0;
  const wanted = accepts === undefined ? events : events.filter((event) => accepts(event));
  const fitting = newestWithin(limit === 0 ? [] : wanted.slice(-limit), bytes);
  return {
    events: fitting,
    limited: moreBefore || wanted.length > fitting.length,
    hiddenState: accepts === undefined ? [] : events.filter((event) => event.isState && !accepts(event)),
  };
};

/** The end of these events that has so many bytes at most, or the last one. */
const newestWithin = (events: readonly StoredEvent[], bytes: number): readonly StoredEvent[] => {
  let left = bytes;
  let first = events.length;
  while (first > 0 && (left -= events[first - 1]?.json.length ?? 0) >= 0) first--;
  return first === 0 ? events : events.slice(Math.min(first, events.length - 1));
};
