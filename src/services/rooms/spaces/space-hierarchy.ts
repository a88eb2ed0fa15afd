import { createHash } from 'node:crypto';
import type { Clock } from '#src/kernel/clock.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { domainOf } from '#src/protocol/identifiers/server-name.ts';
import { type RemoteRoomSummary, viaIn } from '#src/remote/federation/room-summary.ts';
import { type RoomSummary, roomSummaryOf } from '#src/services/rooms/directory/room-summaries.ts';
import type { RoomOpenness } from '#src/services/rooms/membership/room-openness.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Database } from '#src/storage/database.ts';
import { roomNidsOf } from '#src/storage/room-model/room-ids.ts';
import type { RemoteRooms, RemoteSpaceSummary } from '#src/services/rooms/directory/remote-rooms.ts';
import { childrenOf, type ChildState, shownChildren, SPACE } from './space-children.ts';

const DEFAULT_LIMIT = 50;
const MAX_LIMIT = 100;
const MAX_DEPTH = 100;
/** Characters after which a page ends. */
const MAX_CHARACTERS = 4 * 1024 * 1024;
/** How many rooms of a tree are looked at for one answer. */
const MAX_VISITED = 10_000;
/** How many rooms one answer looks at, seen by the user or not, beside those of earlier pages. */
const MAX_LOOKED = 500;
/** How often other servers are asked for one answer, how many of the next rooms are asked for at once, and for how long: milliseconds. */
const MAX_ASKED = 100;
const LOOKAHEAD = 8;
const PATIENCE_MS = 15_000;
const TOKEN = /^h3_([\w-]{16})_(\d{1,5})_(\d{1,3})_([01])$/;

export interface HierarchyQuery {
  readonly suggestedOnly: boolean;
  readonly maxDepth?: number | undefined;
  readonly limit?: number | undefined;
  readonly from?: string | undefined;
  /** Servers to ask about the space where this one is not in it. MSC4235. */
  readonly via?: readonly string[] | undefined;
}

/** A room of a tree; members are named as on the wire. */
export interface HierarchyRoom extends RoomSummary {
  readonly children_state: readonly ChildState[];
}

export interface SpaceHierarchyOptions {
  readonly database: Database;
  readonly rooms: RoomRegistry;
  readonly openness: Pick<RoomOpenness, 'isOpenTo' | 'isSummaryOpenTo'>;
  readonly remote: Pick<RemoteRooms, 'find'>;
  readonly clock: Clock;
  readonly serverName: string;
}

/** A room that comes next, and what is known of it before it is looked at. */
interface Ahead {
  readonly roomId: string;
  readonly depth: number;
  /** Undefined when this server does not know it. */
  readonly room: Room | undefined;
  /** Servers that may know it. */
  readonly via: readonly string[];
  /** What the server that told of its space said of it. */
  readonly told?: RemoteRoomSummary | undefined;
  /** That server says that the room is inaccessible. */
  readonly isInaccessible?: boolean;
}

/** A room that the user may see, and what is below it. */
interface Seen {
  readonly summary: RoomSummary;
  readonly children: readonly ChildState[];
  /** The server that described it, where this server is not in it. */
  readonly source?: RemoteSpaceSummary | undefined;
}

/** One user's walk through one tree. */
interface Walk {
  readonly userId: string;
  readonly maxDepth: number;
  readonly suggestedOnly: boolean;
  /** What was found out about the user and rooms. */
  readonly known: Map<string, boolean>;
  /** How often other servers were asked. */
  asked: number;
}

/** Walks through the trees that spaces make, over all servers. Client-Server API, "Discovering rooms within spaces". */
export class SpaceHierarchy {
  readonly #options: SpaceHierarchyOptions;

  constructor(options: SpaceHierarchyOptions) {
    this.#options = options;
  }

  /**
   * A page of the rooms below a space (itself first) that the user is in, may join or may read: depth first, children in their order. It may be
   * shorter than asked for where many rooms are not for this user, other servers take long, or there is much to tell of rooms.
   *
   * @throws MatrixError M_FORBIDDEN when the space is not for this user, M_INVALID_PARAM when the token is not for this query
   */
  async page(
    roomId: string,
    userId: string,
    query: HierarchyQuery,
  ): Promise<{ readonly rooms: readonly HierarchyRoom[]; readonly next: string | undefined }> {
    const { clock, rooms: registry } = this.#options;
    const { from, suggestedOnly, via = [] } = query;
    const limit = Math.min(query.limit ?? DEFAULT_LIMIT, MAX_LIMIT);
    const maxDepth = Math.min(query.maxDepth ?? MAX_DEPTH, MAX_DEPTH);
    const root: Ahead = {
      roomId,
      depth: 0,
      room: await registry.byId(roomId),
      via: [...via, domainOf(roomId) ?? ''],
    };
    const walk: Walk = { userId, maxDepth, suggestedOnly, known: new Map(), asked: 0 };
    const space = await this.#look(root, walk);
    if (space === undefined) throw new MatrixError('M_FORBIDDEN', 'There is no such room, or it is not open to you.');
    const skip = offsetOf(from, roomId, maxDepth, suggestedOnly);
    const until = clock.monotonic() + PATIENCE_MS;
    const rooms: HierarchyRoom[] = [];
    let looked = 0;
    let characters = 0;
    for await (const seen of this.#rooms(root, space, walk, () => limit - rooms.length)) {
      // Rooms that are not for this user are passed over, and so many of them in one answer.
      const isLong = looked > skip && (walk.asked >= MAX_ASKED || clock.monotonic() > until);
      const isFull = rooms.length === limit || characters >= MAX_CHARACTERS;
      if (isFull || looked === skip + MAX_LOOKED || isLong)
        return { rooms, next: `h3_${nameOf(roomId)}_${looked}_${maxDepth}_${suggestedOnly ? 1 : 0}` };
      if (seen !== undefined && looked >= skip) {
        const room = { ...seen.summary, children_state: seen.children };
        rooms.push(room);
        characters += JSON.stringify(room).length;
      }
      looked += 1;
    }
    return { rooms, next: undefined };
  }

  /**
   * The rooms of a tree in order; undefined for each that is not open to the user, and nothing of what lies below it.
   *
   * @param wanted how many are wanted still: as many are asked for ahead at most
   */
  async *#rooms(root: Ahead, space: Seen, walk: Walk, wanted: () => number): AsyncGenerator<Seen | undefined> {
    const visited = new Set<string>();
    const stack: Ahead[] = [root];
    for (let next = stack.pop(); next !== undefined && visited.size < MAX_VISITED; next = stack.pop()) {
      // Spaces can be in each other: a room is told once.
      if (visited.has(next.roomId)) continue;
      visited.add(next.roomId);
      this.#askAhead(stack.slice(-Math.min(LOOKAHEAD, Math.max(0, wanted() - 1))), walk);
      const seen = next === root ? space : await this.#look(next, walk);
      yield seen;
      if (seen === undefined || next.depth >= walk.maxDepth) continue;
      stack.push(...(await this.#below(seen, next.depth + 1)).toReversed());
    }
  }

  /** The children of a space; those that are known here are read together. */
  async #below({ children, source }: Seen, depth: number): Promise<Ahead[]> {
    if (children.length === 0) return [];
    const { database, rooms } = this.#options;
    const ids = children.map(({ state_key: roomId }) => roomId);
    const loaded = await rooms.load(await roomNidsOf(database, ids));
    const byId = new Map([...loaded.values()].map((room) => [room.roomId, room]));
    return children.map(({ state_key: roomId, content }) => ({
      roomId,
      depth,
      room: byId.get(roomId),
      via: source === undefined ? viaIn(content) : [...viaIn(content), source.server],
      told: source?.children.get(roomId),
      isInaccessible: source?.inaccessible.has(roomId) === true,
    }));
  }

  /** A room as the user may see it; undefined when it is not open to the user, or no server knows it. */
  async #look(ahead: Ahead, walk: Walk): Promise<Seen | undefined> {
    const { openness, serverName } = this.#options;
    const { room } = ahead;
    if (room?.joinedServers().has(serverName) !== true) {
      const seen = await this.#lookElsewhere(ahead, walk);
      // What is known of a room that nobody here is in any more is better than nothing.
      if (seen !== undefined || room === undefined) return seen;
    }
    if (!(await openness.isOpenTo(room, walk.userId, walk.known))) return undefined;
    return { summary: roomSummaryOf(room), children: childrenOf(room, walk.suggestedOnly) };
  }

  async #lookElsewhere(ahead: Ahead, walk: Walk): Promise<Seen | undefined> {
    const { openness } = this.#options;
    const { userId, suggestedOnly, known } = walk;
    if (ahead.isInaccessible === true) return undefined;
    const source = needsAsking(ahead) ? await this.#ask(ahead, walk) : undefined;
    const summary = source?.room ?? ahead.told;
    if (summary === undefined || !(await openness.isSummaryOpenTo(summary, ahead.room, userId, known)))
      return undefined;
    const { children_state: states, ...told } = source?.room ?? { ...summary, children_state: [] };
    return { summary: told, children: shownChildren(states, suggestedOnly), source };
  }

  #ask({ roomId, via }: Ahead, walk: Walk): Promise<RemoteSpaceSummary | undefined> {
    return this.#options.remote.find(roomId, via, walk.suggestedOnly, () => (walk.asked += 1));
  }

  /** Begins to ask for what comes next, so that one slow server is waited for once. */
  #askAhead(next: readonly Ahead[], walk: Walk): void {
    const { serverName } = this.#options;
    for (const ahead of next) {
      const isHere = ahead.room?.joinedServers().has(serverName) === true;
      // The client that comes to it asks again.
      if (!isHere && ahead.isInaccessible !== true && needsAsking(ahead)) void this.#ask(ahead, walk);
    }
  }
}

/** What is told of a room that is no space is all there is. */
const needsAsking = ({ told }: Ahead): boolean => told === undefined || told.room_type === SPACE;

/** A space in a token. */
const nameOf = (roomId: string): string => createHash('sha256').update(roomId).digest('base64url').slice(0, 16);

/** How many rooms earlier pages looked at. @throws MatrixError M_INVALID_PARAM */
const offsetOf = (from: string | undefined, roomId: string, maxDepth: number, suggestedOnly: boolean): number => {
  if (from === undefined) return 0;
  const [, space, offset, depth, suggested] = TOKEN.exec(from) ?? [];
  if (space !== nameOf(roomId))
    throw new MatrixError('M_INVALID_PARAM', 'The parameter from is not a token of this server for this space.');
  if (Number(depth) !== maxDepth || (suggested === '1') !== suggestedOnly) {
    throw new MatrixError('M_INVALID_PARAM', 'suggested_only and max_depth cannot change from one page to the next.');
  }
  return Number(offset);
};
