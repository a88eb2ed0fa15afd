import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { HIDDEN_FLAGS } from '#src/protocol/events/event-flags.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { EventVisibility } from '#src/services/reading/visibility/event-visibility.ts';
import type { Database } from '#src/storage/database.ts';
import { type EventTime, eventsByTime } from '#src/storage/reading/event-times.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { PastSource } from './past-source.ts';
import type { RoomAccess } from '#src/services/reading/access/room-access.ts';
import { MINUTE_MS } from '#src/kernel/dates.ts';

const BATCH = 20;
/** How many events are looked at that the user may not see. */
export const MAX_SCANNED = 2000;
/** How far from the time is looked first, and then further and further: near events are found without a look at distant ones. */
const REACHES_MS = [10 * MINUTE_MS, 120 * MINUTE_MS, 1440 * MINUTE_MS, 20_160 * MINUTE_MS];
const FURTHEST = Number.MAX_SAFE_INTEGER;

/** Finds the events of rooms by their time. Client-Server API, `GET /rooms/{roomId}/timestamp_to_event`. */
export class EventByTime {
  readonly #access: Pick<RoomAccess, 'joined'>;
  readonly #database: Database;
  readonly #loader: EventLoader;
  readonly #visibility: Pick<EventVisibility, 'maySee' | 'visibleTo'>;
  readonly #past: PastSource;

  constructor(options: {
    readonly access: Pick<RoomAccess, 'joined'>;
    readonly database: Database;
    readonly loader: EventLoader;
    readonly visibility: Pick<EventVisibility, 'maySee' | 'visibleTo'>;
    readonly past: PastSource;
  }) {
    this.#past = options.past;
    this.#access = options.access;
    this.#database = options.database;
    this.#loader = options.loader;
    this.#visibility = options.visibility;
  }

  /**
   * The event nearest to a time, not before (`f`) or not after (`b`) it; of those of the same time, the topologically nearest.
   *
   * @param ts milliseconds since the epoch
   * @throws MatrixError M_FORBIDDEN unless the user is in the room, M_NOT_FOUND when there is none
   */
  async nearest(roomId: string, userId: string, ts: number, dir: 'f' | 'b'): Promise<StoredEvent> {
    const room = await this.#access.joined(roomId, userId);
    // Asked before anything is read: another request may fetch what is missing meanwhile.
    const isOpen = await this.#past.isOpen(room);
    const local = await this.#nearestHere(room, userId, ts, dir);
    const remote = isOpen && local?.ts !== ts ? await this.#nearestThere(room, userId, ts, dir) : undefined;
    const isNearer =
      remote !== undefined && (local === undefined || Math.abs(remote.ts - ts) < Math.abs(local.ts - ts));
    const nearest = isNearer ? remote : local;
    if (nearest !== undefined) return nearest;
    const direction = dir === 'f' ? 'after' : 'before';
    throw new MatrixError('M_NOT_FOUND', `There is no event ${direction} this time that you may see.`);
  }

  /** What other servers know where some of the room's history is missing here. */
  async #nearestThere(room: Room, userId: string, ts: number, dir: 'f' | 'b'): Promise<StoredEvent | undefined> {
    const eventId = await this.#past.nearest(room, ts, dir);
    const event = eventId === undefined ? undefined : await this.#loader.byId(room, eventId);
    if (event === undefined || (event.flags & HIDDEN_FLAGS) !== 0) return undefined;
    const isOnThisSide = dir === 'f' ? event.ts >= ts : event.ts <= ts;
    return isOnThisSide && (await this.#visibility.maySee(room, userId, event)) ? event : undefined;
  }

  async #nearestHere(room: Room, userId: string, ts: number, dir: 'f' | 'b'): Promise<StoredEvent | undefined> {
    const sign = dir === 'f' ? 1 : -1;
    const start: EventTime = { ts, topo: -sign * FURTHEST, nid: -sign * FURTHEST };
    const common = { room: room.nid, upTo: room.lastPosition };
    let from = start;
    let scanned = 0;
    for (const reach of [...REACHES_MS, undefined]) {
      const to = reach === undefined ? sign * FURTHEST : ts + sign * reach;
      for (let isDone = false; !isDone && scanned < MAX_SCANNED; scanned += BATCH) {
        const query = { ...common, from, to, since: -FURTHEST, limit: BATCH };
        const places = await eventsByTime(this.#database, dir, query);
        isDone = places.length < BATCH;
        from = places.at(-1) ?? from;
        const loaded = await this.#loader.load(places.map(({ nid }) => ({ room, nid })));
        const events = places.flatMap(({ nid }) => loaded.get(nid) ?? []);
        const [nearest] = await this.#visibility.visibleTo(room, userId, events);
        if (nearest !== undefined) return nearest.event;
      }
    }
    // A long history that they may not see is skipped: they may see everything since they joined.
    const since = room.member(userId)?.since ?? FURTHEST;
    const query = { ...common, from: start, to: sign * FURTHEST, since, limit: 1 };
    const [place] = scanned < MAX_SCANNED ? [] : await eventsByTime(this.#database, dir, query);
    return place === undefined ? undefined : this.#loader.one(room, place.nid);
  }
}
