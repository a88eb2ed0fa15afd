import { pageLimit } from '#src/kernel/limits/page-limit.ts';
import { createHash } from 'node:crypto';
import { CountedCache } from '#src/kernel/caches/counted-cache.ts';
import { FairGate } from '#src/kernel/limits/fair-gate.ts';
import { LoopYield } from '#src/kernel/event-loop/loop-yield.ts';
import type { Clock } from '#src/kernel/clock.ts';
import { limitExceeded } from '#src/protocol/errors/limit-exceeded.ts';
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

export const MAX_LIMIT = 100;
const PAGE = { usual: 50, greatest: MAX_LIMIT };
export const MAX_DEPTH = 100;
/** Characters after which a page ends. */
export const MAX_CHARACTERS = 4 * 1024 * 1024;
/** How many rooms of a tree are looked at for one answer. */
export const MAX_VISITED = 10_000;
/** How many rooms one answer looks at, seen by the user or not, beside those of earlier pages. */
export const MAX_LOOKED = 500;
/** Rooms of this server that are read together, and those that are held for a walk. */
const READ_AT_ONCE = 32;
const MAX_HELD = 100;
/** Walks that are kept for their next pages: their bytes, roughly, and those of a room in one. */
export const KEPT_BYTES = 16 * 1024 * 1024;
const ROOM_BYTES = 300;
/** Walks that pass over earlier pages at once, since they are not kept any more, and how many of one user wait; rooms between two turns. */
export const PASSING_AT_ONCE = 4;
export const MAX_WAITING = 20;
const IN_A_TURN = 50;
/** How often other servers are asked for one answer, how many of the next rooms are asked for at once, and for how long: milliseconds. */
export const MAX_ASKED = 100;
const LOOKAHEAD = 8;
export const MAX_WAIT_MS = 15_000;
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

/** How far a walk has come. */
interface Progress {
  /** What comes next, the first of it last. */
  readonly stack: Ahead[];
  /** Rooms that were looked at. */
  readonly visited: Set<string>;
  /** How many. */
  looked: number;
}

/** One user's walk through one tree. */
interface Walk {
  readonly userId: string;
  readonly maxDepth: number;
  readonly suggestedOnly: boolean;
  /** What was found out about the user and rooms. */
  readonly known: Map<string, boolean>;
  /** Rooms that come next; undefined when this server does not know one. */
  readonly rooms: Map<string, Room | undefined>;
  /** How often other servers were asked. */
  asked: number;
}

/** Walks through the trees that spaces make, over all servers. Client-Server API, "Discovering rooms within spaces". */
export class SpaceHierarchy {
  readonly #options: SpaceHierarchyOptions;
  /** By user, question and place: what a token alone does not say. */
  readonly #kept = new CountedCache<string, Progress>('space_walks', {
    maxSize: KEPT_BYTES,
    sizeCalculation: ({ stack, visited }) =>
      (1 + stack.length + visited.size) * ROOM_BYTES +
      stack.reduce((sum, { told }) => sum + (told === undefined ? 0 : 2 * JSON.stringify(told).length), 0),
  });
  readonly #passing = new FairGate({ concurrency: PASSING_AT_ONCE, maxWaiting: MAX_WAITING });

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
    const limit = pageLimit(query.limit, PAGE);
    const maxDepth = Math.min(query.maxDepth ?? MAX_DEPTH, MAX_DEPTH);
    const root: Ahead = { roomId, depth: 0, via: [...via, domainOf(roomId) ?? ''] };
    const walk: Walk = {
      userId,
      maxDepth,
      suggestedOnly,
      known: new Map(),
      rooms: new Map([[roomId, await registry.byId(roomId)]]),
      asked: 0,
    };
    const space = await this.#look(root, walk);
    if (space === undefined) throw new MatrixError('M_FORBIDDEN', 'There is no such room, or it is not open to you.');
    const skip = offsetOf(from, roomId, maxDepth, suggestedOnly);
    const tokenAt = (looked: number): string => `h3_${nameOf(roomId)}_${looked}_${maxDepth}_${suggestedOnly ? 1 : 0}`;
    const keyAt = (looked: number): string => JSON.stringify([userId, tokenAt(looked)]);
    const until = clock.monotonic() + MAX_WAIT_MS;
    const isLong = (): boolean => walk.asked >= MAX_ASKED || clock.monotonic() > until;
    const progress = this.#resumed(keyAt(skip)) ?? { stack: [root], visited: new Set(), looked: 0 };
    if (progress.looked < skip) await this.#pass(progress, skip, walk, isLong);
    // It comes there with the next question.
    if (progress.looked < skip && hasMore(progress)) {
      this.#kept.set(keyAt(skip), progress);
      return { rooms: [], next: from };
    }
    const began = progress.looked;
    const rooms: HierarchyRoom[] = [];
    let characters = 0;
    while (hasMore(progress)) {
      // Rooms that are not for this user are passed over, and so many of them in one answer.
      const isFull = rooms.length === limit || characters >= MAX_CHARACTERS || progress.looked >= began + MAX_LOOKED;
      if (isFull || (progress.looked > began && isLong())) {
        this.#kept.set(keyAt(progress.looked), progress);
        return { rooms, next: tokenAt(progress.looked) };
      }
      const seen = await this.#step(progress, walk, limit - rooms.length);
      if (seen === undefined) continue;
      const room = { ...seen.summary, children_state: seen.children };
      rooms.push(room);
      characters += JSON.stringify(room).length;
    }
    return { rooms, next: undefined };
  }

  /** A walk where its page ended, which may be asked for again. */
  #resumed(key: string): Progress | undefined {
    const kept = this.#kept.get(key);
    return kept && { stack: [...kept.stack], visited: new Set(kept.visited), looked: kept.looked };
  }

  /**
   * Passes over the rooms of earlier pages, where it is not kept what comes after them. They may be many: users take turns.
   *
   * @throws MatrixError M_LIMIT_EXCEEDED
   */
  #pass(progress: Progress, skip: number, walk: Walk, isLong: () => boolean): Promise<void> {
    const loopYield = new LoopYield(IN_A_TURN);
    return this.#passing.run(
      { party: walk.userId, isPreferred: false },
      async () => {
        while (progress.looked < skip && hasMore(progress) && !isLong()) {
          await this.#step(progress, walk, 0);
          await loopYield.after(1);
        }
      },
      () => limitExceeded('space_walks', 1_000),
    );
  }

  /**
   * Looks at the next room of a tree; its children come next.
   *
   * @param wanted how many are wanted still: as many are asked for ahead at most
   * @returns undefined where it is not open to the user, and nothing of what lies below it
   */
  async #step(progress: Progress, walk: Walk, wanted: number): Promise<Seen | undefined> {
    const { stack, visited } = progress;
    const next = stack.pop();
    if (next === undefined) return undefined;
    visited.add(next.roomId);
    progress.looked += 1;
    await this.#read(next, stack, walk);
    this.#askAhead(stack.slice(Math.max(0, stack.length - Math.min(LOOKAHEAD, Math.max(0, wanted - 1)))), walk);
    const seen = await this.#look(next, walk);
    walk.rooms.delete(next.roomId);
    if (seen === undefined || next.depth >= walk.maxDepth) return seen;
    const { children, source } = seen;
    for (const { state_key: roomId, content } of children.toReversed()) {
      if (visited.has(roomId)) continue;
      stack.push({
        roomId,
        depth: next.depth + 1,
        via: source === undefined ? viaIn(content) : [...viaIn(content), source.server],
        told: source?.children.get(roomId),
        isInaccessible: source?.inaccessible.has(roomId) === true,
      });
    }
    // No walk comes further than that.
    if (stack.length > MAX_VISITED) stack.splice(0, stack.length - MAX_VISITED);
    return seen;
  }

  /** Reads what this server has of a room and those after it, where it is not read yet. */
  async #read(next: Ahead, stack: readonly Ahead[], { rooms: read }: Walk): Promise<void> {
    const isRead = ({ roomId }: Ahead): boolean => read.has(roomId);
    if (isRead(next) && stack.slice(-LOOKAHEAD).every(isRead)) return;
    const { database, rooms } = this.#options;
    if (read.size > MAX_HELD) read.clear();
    const missing = [next, ...stack.slice(-READ_AT_ONCE)].filter((one) => !isRead(one)).map(({ roomId }) => roomId);
    const loaded = await rooms.load(await roomNidsOf(database, missing));
    for (const roomId of missing) read.set(roomId, undefined);
    for (const room of loaded.values()) read.set(room.roomId, room);
  }

  /** A room as the user may see it; undefined when it is not open to the user, or no server knows it. */
  async #look(ahead: Ahead, walk: Walk): Promise<Seen | undefined> {
    const { openness, serverName } = this.#options;
    const room = walk.rooms.get(ahead.roomId);
    if (room?.joinedServers().has(serverName) !== true) {
      const seen = await this.#fetchRemote(ahead, walk);
      // What is known of a room that nobody here is in any more is better than nothing.
      if (seen !== undefined || room === undefined) return seen;
    }
    if (!(await openness.isOpenTo(room, walk.userId, walk.known))) return undefined;
    return { summary: roomSummaryOf(room), children: childrenOf(room, walk.suggestedOnly) };
  }

  async #fetchRemote(ahead: Ahead, walk: Walk): Promise<Seen | undefined> {
    const { openness } = this.#options;
    const { userId, suggestedOnly, known } = walk;
    if (ahead.isInaccessible === true) return undefined;
    const source = needsAsking(ahead) ? await this.#ask(ahead, walk) : undefined;
    const summary = source?.room ?? ahead.told;
    if (
      summary === undefined ||
      !(await openness.isSummaryOpenTo(summary, walk.rooms.get(ahead.roomId), userId, known))
    )
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
      const isHere = walk.rooms.get(ahead.roomId)?.joinedServers().has(serverName) === true;
      // The client that comes to it asks again.
      if (!isHere && ahead.isInaccessible !== true && needsAsking(ahead)) void this.#ask(ahead, walk);
    }
  }
}

/** What is told of a room that is no space is all there is. */
const needsAsking = ({ told }: Ahead): boolean => told === undefined || told.room_type === SPACE;

/** Whether there is a room to look at. Spaces can be in each other: a room is told once. */
const hasMore = ({ stack, visited }: Progress): boolean => {
  for (let next = stack.at(-1); next !== undefined && visited.has(next.roomId); next = stack.at(-1)) stack.pop();
  return stack.length > 0 && visited.size < MAX_VISITED;
};

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
