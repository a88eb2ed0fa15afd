import type { Timers } from '#src/kernel/timers.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { decodeSyncToken, encodeSyncToken, type PositionVector } from '#src/protocol/wire/position.ts';
import { type IgnoredUsers, isIgnored } from '#src/services/user-data/account-data/ignored-users.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { RoomEventStream } from '#src/services/events/stream/room-event-stream.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
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
import { newestEvents, roomsOfUser } from '#src/storage/room-model/event-reads.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import { isPending } from '#src/services/room-model/room/membership.ts';

/** Events of one room in one answer; a client that was away for longer reads the rest with /messages. */
const MAX_EVENTS = 100;

export interface EventStreamOptions {
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
        // A reader who loses the right to look while waiting is told so.
        const rooms = await this.#rooms(reader, request.roomId);
        let news = false;
        const stop = this.#listen(reader.userId, rooms, () => {
          news = true;
          wake();
        });
        try {
          const vector = this.#options.writer.committed();
          const chunk = await this.#chunk(reader, rooms, since.vector, vector, request.roomId === undefined);
          if (chunk.length > 0 || over || request.signal.aborted) return { start, end: this.#token(vector), chunk };
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

  async #chunk(
    reader: Reader,
    rooms: readonly RoomStub[],
    since: PositionVector,
    upTo: PositionVector,
    isOwn: boolean,
  ): Promise<string[]> {
    const { clientEvents, ignoredUsers, invitations, visibility } = this.#options;
    const ignored = await ignoredUsers.of(reader.userId);
    const found: { readonly ts: number; readonly json: string }[] = [];
    for (const stub of rooms) {
      const after = since[stub.shard] ?? 0;
      const end = upTo[stub.shard] ?? 0;
      const room = stub.lastPosition <= after ? undefined : await this.#options.rooms.byNid(stub.nid);
      if (room === undefined) continue;
      const member = room.member(reader.userId);
      const isWaiting = isOwn && isPending(member?.membership);
      const visible = isWaiting
        ? await invitations.since(room, reader.userId, after)
        : (await visibility.visibleTo(room, reader.userId, await this.#between(room, after, end))).filter(
            ({ event }) => !isIgnored(event, ignored),
          );
      const json = await clientEvents.write(room, reader, visible);
      for (const [index, { event }] of visible.entries())
        found.push({ ts: event.pdu.origin_server_ts, json: json[index] ?? '{}' });
    }
    // Rooms have orders of their own: between them the time decides. The sort is stable, so that each room keeps its order.
    return (rooms.length === 1 ? found : found.sort((a, b) => a.ts - b.ts)).map(({ json }) => json);
  }

  async #between(room: Room, after: number, upTo: number): Promise<readonly StoredEvent[]> {
    const recent = room.ring.between(after, upTo);
    if (recent !== undefined) return recent.slice(-MAX_EVENTS);
    const { database, loader } = this.#options;
    const records = await newestEvents(database, [{ room: room.nid, after, upTo }], MAX_EVENTS);
    return (await loader.adopt(records, () => room)).toReversed();
  }
}
