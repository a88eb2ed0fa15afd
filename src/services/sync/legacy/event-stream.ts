import { LoopYield } from '#src/kernel/event-loop/loop-yield.ts';
import type { Timers } from '#src/kernel/timers.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { decodeSyncToken, encodeSyncToken, type PositionVector } from '#src/protocol/wire/position.ts';
import { type IgnoredUsers, isIgnored } from '#src/services/user-data/account-data/ignored-users.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { RoomEventStream } from '#src/services/events/stream/room-event-stream.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { LargeSyncs } from '../engine/large-syncs.ts';
import { EventChunk, type SentEvent } from './event-chunk.ts';
import type { Invitations } from './invitations.ts';
import type { ClientEvents, Reader } from '#src/services/reading/client-events/client-events.ts';
import type { RoomAccess } from '#src/services/reading/access/room-access.ts';
import type { RoomStub } from '#src/services/room-model/room/room-stub.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { EphemeralCounter } from '#src/services/commit/ephemeral-counter.ts';
import type { Writer } from '#src/services/commit/writer.ts';
import type { EventVisibility } from '#src/services/reading/visibility/event-visibility.ts';
import type { Database } from '#src/storage/database.ts';
import { newestEvents } from '#src/storage/room-model/event-reads.ts';
import { roomsOfUser } from '#src/storage/room-model/member-rows.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import { isPending } from '#src/services/room-model/room/membership.ts';

/** Most events of one room in one response; a client reads older ones with /messages. */
export const MAX_EVENTS = 100;

/** Rooms whose events are read together, and rooms with news of which no more are a small answer. */
const ROOMS_AT_ONCE = 20;
export const FEW_ROOMS = 4;
/** How much of an answer is written in one turn of the event loop. */
const CHARACTERS_AT_ONCE = 100_000;

export interface EventStreamOptions {
  /** Bytes of the events of one room in one answer, as of their JSON, and of those of all rooms. */
  readonly maxTimelineBytes: number;
  readonly maxBytes: number;
  readonly largeSyncs: LargeSyncs;
  readonly database: Database;
  readonly interner: Interner;
  readonly loader: EventLoader;
  readonly rooms: RoomRegistry;
  readonly access: RoomAccess;
  readonly stream: RoomEventStream;
  readonly invitations: Invitations;
  readonly ignoredUsers: IgnoredUsers;
  readonly visibility: EventVisibility;
  readonly clientEvents: ClientEvents;
  readonly writer: Writer;
  readonly ephemeral: EphemeralCounter;
  readonly timers: Timers;
}

export interface StreamRequest {
  /** One room, which one may peek into; undefined for all that the reader is in. */
  readonly roomId?: string | undefined;
  /** A token of this API, of initialSync or of /sync; now, when left out. */
  readonly from?: string | undefined;
  /** Milliseconds. */
  readonly timeout: number;
  readonly signal: AbortSignal;
}

/** What was sent since a token: events are JSON texts. */
export interface StreamChunk {
  readonly start: string;
  readonly end: string;
  readonly chunk: readonly string[];
}

/** Events of rooms as they come, for old clients and for users who peek into a room. Client-Server API, "Room Previews". */
export class EventStream {
  readonly #options: EventStreamOptions;
  readonly #byRoom = new Map<number, Set<() => void>>();
  readonly #byUser = new Map<string, Set<() => void>>();

  constructor(options: EventStreamOptions) {
    this.#options = options;
    options.stream.on('revealed', ({ room }) => {
      for (const wake of [...(this.#byRoom.get(room.nid) ?? [])]) wake();
    });
    options.stream.on('appended', ({ room, events, resolvedMembers }) => {
      for (const wake of [...(this.#byRoom.get(room.nid) ?? [])]) wake();
      if (this.#byUser.size === 0) return;
      for (const member of [...events.map((one) => one.member), ...(resolvedMembers ?? [])])
        for (const wake of [...(this.#byUser.get(member?.after.userId ?? '') ?? [])]) wake();
    });
  }

  /** The token of everything up to now. */
  now(): string {
    return this.#token(this.#options.writer.committed());
  }

  /**
   * Waits for events until there are some, or the timeout.
   *
   * @throws MatrixError M_FORBIDDEN for a room that is neither world-readable nor the reader's, M_INVALID_PARAM for a token that is none
   */
  async read(reader: Reader, request: StreamRequest): Promise<StreamChunk> {
    const { timers } = this.#options;
    const start = request.from === undefined || request.from === '' ? this.now() : request.from;
    const since = decodeSyncToken(start);
    if (since === undefined)
      throw new MatrixError('M_INVALID_PARAM', 'The parameter from is not a token of this server.');
    let over = request.timeout <= 0;
    let wake: () => void = () => undefined;
    const timer = over
      ? undefined
      : timers.after(request.timeout, () => {
          over = true;
          wake();
        });
    const abort = (): void => wake();
    request.signal.addEventListener('abort', abort, { once: true });
    try {
      for (;;) {
        // A reader who loses access while waiting gets M_FORBIDDEN.
        const rooms = await this.#rooms(reader, request.roomId);
        let news = false;
        const stop = this.#listen(reader.userId, rooms, () => {
          news = true;
          wake();
        });
        try {
          const vector = this.#options.writer.committed();
          const { chunk, upTo } = await this.#chunk(reader, rooms, since.vector, vector, request);
          if (chunk.length > 0 || over || request.signal.aborted) return { start, end: this.#token(upTo), chunk };
          await new Promise<void>((resolve) => {
            wake = resolve;
            if (news || over || request.signal.aborted) resolve();
          });
        } finally {
          stop();
        }
      }
    } finally {
      timer?.cancel();
      request.signal.removeEventListener('abort', abort);
    }
  }

  #token(vector: PositionVector): string {
    const { ephemeral } = this.#options;
    return encodeSyncToken({ vector, ephemeral: { run: ephemeral.run, count: ephemeral.current } });
  }

  async #rooms({ userId }: Reader, roomId: string | undefined): Promise<readonly RoomStub[]> {
    const { access, database, interner, rooms } = this.#options;
    if (roomId !== undefined) return [(await access.reading(roomId, userId)).room.stub];
    const memberships = await roomsOfUser(database, await interner.userNid(userId));
    return [...(await rooms.stubs(memberships.filter((row) => !row.forgotten).map((row) => row.room))).values()];
  }

  #listen(userId: string, rooms: readonly RoomStub[], wake: () => void): () => void {
    const places: [Map<number | string, Set<() => void>>, number | string][] = [
      ...rooms.map((room): [Map<number | string, Set<() => void>>, number] => [this.#byRoom as never, room.nid]),
      [this.#byUser as never, userId],
    ];
    for (const [map, key] of places) {
      const set = map.get(key) ?? new Set();
      map.set(key, set.add(wake));
    }
    return () => {
      for (const [map, key] of places) {
        const set = map.get(key);
        set?.delete(wake);
        if (set?.size === 0) map.delete(key);
      }
    };
  }

  /** Events of rooms, as many as an answer has room for, and the positions up to which they are told. */
  async #chunk(
    reader: Reader,
    rooms: readonly RoomStub[],
    since: PositionVector,
    end: PositionVector,
    { roomId, signal }: Pick<StreamRequest, 'roomId' | 'signal'>,
  ): Promise<{ readonly chunk: readonly string[]; readonly upTo: PositionVector }> {
    const { largeSyncs, maxBytes } = this.#options;
    const of = { userId: reader.userId, signal };
    const isOwn = roomId === undefined;
    const withNews = rooms.filter(({ lastPosition, shard }) => lastPosition > (since[shard] ?? 0));
    const isLarge = withNews.length > FEW_ROOMS;
    const loopYield = new LoopYield(CHARACTERS_AT_ONCE, isLarge ? () => largeSyncs.pause(of) : undefined);
    const compute = async (): Promise<{ readonly chunk: readonly string[]; readonly upTo: PositionVector }> => {
      const chunk = new EventChunk(maxBytes);
      const upTo = await this.#addRooms(chunk, withNews, { reader, since, end, isOwn, loopYield });
      return { chunk: chunk.texts(rooms.length > 1), upTo };
    };
    return isLarge ? largeSyncs.run(of, compute) : compute();
  }

  /** Adds what came to rooms, shard after shard. @returns the positions up to which it is told */
  async #addRooms(chunk: EventChunk, stubs: readonly RoomStub[], span: Span): Promise<PositionVector> {
    const { end, loopYield, since } = span;
    const byShard = stubs.toSorted((a, b) => a.shard - b.shard);
    const upTo = [...end];
    for (const { shard } of byShard) upTo[shard] = since[shard] ?? 0;
    let current: number | undefined;
    const endOf = (shard: number): number => (shard === current ? chunk.upTo : (end[shard] ?? 0));
    for (let at = 0; at < byShard.length;) {
      const part = byShard.slice(at, at + ROOMS_AT_ONCE);
      const { looked, rooms } = await this.#options.rooms.loadSome(part.map(({ nid }) => nid));
      const ranges = [...rooms.values()].map((room) => ({
        room,
        after: since[room.shard] ?? 0,
        upTo: endOf(room.shard),
      }));
      const between = await this.#between(ranges);
      await this.#options.clientEvents.prepare(
        [...rooms].flatMap(([nid, room]) => (between.get(nid) ?? []).map((event) => ({ room, event }))),
      );
      for (const { nid, shard } of part.slice(0, looked)) {
        if (shard !== current) {
          if (current !== undefined) upTo[current] = chunk.end();
          if (chunk.isFull) return upTo;
          current = shard;
          chunk.begin(end[shard] ?? 0);
        }
        const room = rooms.get(nid);
        if (room === undefined) continue;
        const events = await this.#written(room, between.get(nid) ?? [], span);
        chunk.add(events);
        const turn = loopYield.after(events.reduce((sum, { json }) => sum + json.length, 0));
        if (turn !== undefined) await turn;
      }
      at += looked;
    }
    if (current !== undefined) upTo[current] = chunk.end();
    return upTo;
  }

  /** Of what came to a room, what the reader sees. */
  async #written(room: Room, events: readonly StoredEvent[], { isOwn, reader, since }: Span): Promise<SentEvent[]> {
    const { clientEvents, ignoredUsers, invitations, visibility } = this.#options;
    const membership = room.member(reader.userId)?.membership;
    const isWaiting = isOwn && isPending(membership);
    const ignored = await ignoredUsers.of(reader.userId);
    const visible = isWaiting
      ? await invitations.since(room, reader.userId, since[room.shard] ?? 0)
      : (await visibility.visibleTo(room, reader.userId, events)).filter(({ event }) => !isIgnored(event, ignored));
    const texts = await clientEvents.write(room, reader, visible);
    return visible.map(({ event: { nid, pdu } }, index) => ({
      nid,
      ts: pdu.origin_server_ts,
      json: texts[index] ?? '{}',
    }));
  }

  /** By room the newest events of a stretch, oldest first: one statement for all rooms that have more of them than are in memory. */
  async #between(
    ranges: readonly { readonly room: Room; readonly after: number; readonly upTo: number }[],
  ): Promise<ReadonlyMap<number, readonly StoredEvent[]>> {
    const { database, loader, maxTimelineBytes } = this.#options;
    const found = new Map<number, readonly StoredEvent[]>();
    const missing = new Map<number, Room>();
    for (const { room, after, upTo } of ranges) {
      const recent = room.ring.between(after, upTo);
      if (recent === undefined) missing.set(room.nid, room);
      else found.set(room.nid, newestOf(recent, maxTimelineBytes));
    }
    if (missing.size === 0) return found;
    const read = ranges.flatMap(({ room: { nid }, ...range }) => (missing.has(nid) ? [{ room: nid, ...range }] : []));
    const records = await newestEvents(database, read, MAX_EVENTS, maxTimelineBytes);
    const events = await loader.adopt(records, (nid) => missing.get(nid));
    for (const [nid, ofRoom] of Map.groupBy(events, ({ room }) => room.nid)) found.set(nid, ofRoom.toReversed());
    return found;
  }
}

/** What one answer is to tell, and whom. */
interface Span {
  readonly reader: Reader;
  readonly since: PositionVector;
  readonly end: PositionVector;
  /** All rooms of the reader, rather than one. */
  readonly isOwn: boolean;
  readonly loopYield: LoopYield;
}

/** The newest of these events, in their order: no more than an answer has of one room, and one in any case. */
const newestOf = (events: readonly StoredEvent[], maxBytes: number): readonly StoredEvent[] => {
  let bytes = 0;
  const recent = events.slice(-MAX_EVENTS);
  const last = recent.findLastIndex((event) => (bytes += event.json.length) > maxBytes);
  return last < 0 ? recent : recent.slice(Math.min(last + 1, recent.length - 1));
};
