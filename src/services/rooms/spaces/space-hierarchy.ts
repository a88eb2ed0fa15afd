import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { strippedState, type StrippedStateEvent } from '#src/protocol/events/stripped-state.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import { type RoomSummary, roomSummaryOf } from '#src/services/rooms/directory/room-summaries.ts';
import type { RoomOpenness } from '#src/services/rooms/membership/room-openness.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Database } from '#src/storage/database.ts';
import { roomNidsOf } from '#src/storage/room-model/room-ids.ts';
import { childrenOf, isSpace } from './space-children.ts';

const DEFAULT_LIMIT = 50;
const MAX_LIMIT = 100;
const MAX_DEPTH = 100;
/** How many rooms of a tree are looked at for one answer. */
const MAX_VISITED = 10_000;
/** How many rooms one answer looks at, seen by the user or not, beside those of earlier pages. */
const MAX_LOOKED = 500;
const TOKEN = /^h2_([0-9a-z]{1,10})_(\d{1,5})_(\d{1,3})_([01])$/;

export interface HierarchyQuery {
  readonly suggestedOnly: boolean;
  readonly maxDepth?: number | undefined;
  readonly limit?: number | undefined;
  readonly from?: string | undefined;
}

/** A room of a tree; members are named as on the wire. */
export interface HierarchyRoom extends RoomSummary {
  readonly children_state: readonly (StrippedStateEvent & { readonly origin_server_ts: number })[];
}

/** Walks through the trees that spaces make. Client-Server API, "Discovering rooms within spaces". */
export class SpaceHierarchy {
  readonly #database: Database;
  readonly #rooms: RoomRegistry;
  readonly #openness: RoomOpenness;

  constructor(options: { readonly database: Database; readonly rooms: RoomRegistry; readonly openness: RoomOpenness }) {
    this.#database = options.database;
    this.#rooms = options.rooms;
    this.#openness = options.openness;
  }

  /**
   * A page of the rooms below a space (itself first) that the user is in, may join or may read: depth first, children in their order.
   *
   * @throws MatrixError M_FORBIDDEN when the space is not for this user, M_INVALID_PARAM when the token is not for this query
   */
  async page(
    roomId: string,
    userId: string,
    query: HierarchyQuery,
  ): Promise<{ readonly rooms: readonly HierarchyRoom[]; readonly next: string | undefined }> {
    const root = await this.#rooms.byId(roomId);
    if (root === undefined || !(await this.#openness.isOpenTo(root, userId))) {
      throw new MatrixError('M_FORBIDDEN', 'There is no such room, or it is not open to you.');
    }
    const limit = Math.min(query.limit ?? DEFAULT_LIMIT, MAX_LIMIT);
    const maxDepth = Math.min(query.maxDepth ?? MAX_DEPTH, MAX_DEPTH);
    const skip = offsetOf(query.from, root, maxDepth, query.suggestedOnly);
    const rooms: HierarchyRoom[] = [];
    let looked = 0;
    for await (const { room, isOpen } of this.#walk(root, userId, maxDepth, query.suggestedOnly)) {
      // Rooms that are not for this user are passed over, and so many of them in one answer.
      if (rooms.length === limit || looked === skip + MAX_LOOKED) {
        return { rooms, next: `h2_${root.nid.toString(36)}_${looked}_${maxDepth}_${query.suggestedOnly ? 1 : 0}` };
      }
      if (isOpen && looked >= skip) rooms.push(withChildren(room, query.suggestedOnly));
      looked += 1;
    }
    return { rooms, next: undefined };
  }

  /** The rooms of a tree in order, those that are not open to the user without what lies below them. */
  async *#walk(
    root: Room,
    userId: string,
    maxDepth: number,
    suggestedOnly: boolean,
  ): AsyncGenerator<{ readonly room: Room; readonly isOpen: boolean }> {
    const visited = new Set<string>();
    const known = new Map<string, boolean>();
    const stack: { readonly room: Room; readonly depth: number }[] = [{ room: root, depth: 0 }];
    for (let next = stack.pop(); next !== undefined && visited.size < MAX_VISITED; next = stack.pop()) {
      const { room, depth } = next;
      // Spaces can be in each other: a room is told once.
      if (visited.has(room.roomId)) continue;
      visited.add(room.roomId);
      const isOpen = depth === 0 || (await this.#openness.isOpenTo(room, userId, known));
      yield { room, isOpen };
      if (!isOpen || depth >= maxDepth || !isSpace(room)) continue;
      for (const child of (await this.#children(room, suggestedOnly)).toReversed())
        stack.push({ room: child, depth: depth + 1 });
    }
  }

  /** The children that are known here, read together. */
  async #children(space: Room, suggestedOnly: boolean): Promise<Room[]> {
    const ids = childEvents(space, suggestedOnly).map(({ stateKey = '' }) => stateKey);
    if (ids.length === 0) return [];
    const loaded = await this.#rooms.load(await roomNidsOf(this.#database, ids));
    const byId = new Map([...loaded.values()].map((room) => [room.roomId, room]));
    return ids.flatMap((id) => byId.get(id) ?? []);
  }
}

const childEvents = (room: Room, suggestedOnly: boolean): StoredEvent[] =>
  childrenOf(room).filter(({ content }) => !suggestedOnly || content['suggested'] === true);

/** "If the room is not a space-room, this should be empty." */
const withChildren = (room: Room, suggestedOnly: boolean): HierarchyRoom => ({
  ...roomSummaryOf(room),
  children_state: isSpace(room)
    ? childEvents(room, suggestedOnly).map((event) => ({ ...strippedState(event.pdu), origin_server_ts: event.ts }))
    : [],
});

/** How many rooms earlier pages looked at. @throws MatrixError M_INVALID_PARAM */
const offsetOf = (from: string | undefined, root: Room, maxDepth: number, suggestedOnly: boolean): number => {
  if (from === undefined) return 0;
  const [, space, offset, depth, suggested] = TOKEN.exec(from) ?? [];
  if (space !== root.nid.toString(36))
    throw new MatrixError('M_INVALID_PARAM', 'The parameter from is not a token of this server for this space.');
  if (Number(depth) !== maxDepth || (suggested === '1') !== suggestedOnly) {
    throw new MatrixError('M_INVALID_PARAM', 'suggested_only and max_depth cannot change from one page to the next.');
  }
  return Number(offset);
};
