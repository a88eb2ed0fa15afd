import { LRUCache } from 'lru-cache';
import { atMost } from '#src/kernel/caches/at-most.ts';
import { LiveCache } from '#src/kernel/caches/live-cache.ts';
import { EVENT_FLAGS } from '#src/protocol/events/event-flags.ts';
import { MEMBER } from '#src/protocol/events/event-types.ts';
import type { EventService } from '#src/services/events/stream/event-service.ts';
import type { RoomEventStream } from '#src/services/events/stream/room-event-stream.ts';
import type { ReceiptService } from '#src/services/push/receipts/receipt-service.ts';
import { threadOf } from '#src/services/push/receipts/threads.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { Database } from '#src/storage/database.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import { asKind, type FreshState, mayCount, type Range, readerOf, UnreadReader } from './unread-reader.ts';
import { UnreadState } from './unread-state.ts';
import { UnreadWindows } from './unread-windows.ts';

/** The list may have been read again since. */
const isSameSet = (one: ReadonlySet<string>, other: ReadonlySet<string>): boolean =>
  one === other || (one.size === other.size && [...one].every((userId) => other.has(userId)));

const keyOf = (room: Pick<Room, 'nid'>, user: number): string => `${room.nid} ${user}`;

export interface UnreadStatesOptions {
  readonly database: Database;
  readonly interner: Interner;
  readonly events: EventService;
  readonly stream: RoomEventStream;
  readonly receipts: ReceiptService;
  /** How much memory what is unread may take, for all users and rooms together, in bytes. */
  readonly cacheBytes: number;
  /** Unread events of a room from which on they are read once for all users; default 256. */
  readonly sharedFrom?: number;
}

/**
 * Caches the unread events of users in rooms. New events of a room are added on request, from those in memory. After a change of the room's past,
 * the state is read again.
 */
export class UnreadStates {
  readonly #events: EventService;
  readonly #receipts: ReceiptService;
  readonly #states: LiveCache<UnreadState>;
  readonly #windows: UnreadWindows;
  /** The threads of events that are in one (or none) by the events that they relate to. */
  readonly #threads = new WeakMap<StoredEvent, { readonly root: string | undefined }>();
  /** Counts redactions and other changes of the past of rooms, and holds the last one of each room: a state that was read before it is outdated. */
  #changes = 0;
  readonly #changed = new LRUCache<number, number>(atMost(100_000));
  readonly #reader: UnreadReader;

  constructor(options: UnreadStatesOptions) {
    this.#events = options.events;
    this.#receipts = options.receipts;
    this.#states = new LiveCache({
      name: 'unread_counts',
      maxSize: options.cacheBytes,
      sizeOf: (state) => state.size,
    });
    const { stream } = options;
    this.#windows = new UnreadWindows(options);
    this.#reader = new UnreadReader({ ...options, windows: this.#windows });
    stream.on('appended', ({ room, events }) => {
      for (const { event, mentions } of events) {
        for (const { user, kind } of mentions)
          this.#states.update(keyOf(room, user), (state) => state.note(event.nid, asKind(kind)));
        if (event.type === 'm.room.redaction') this.#changed.set(room.nid, (this.#changes += 1));
      }
    });
    const reread = ({ room }: { readonly room: Room }): undefined => {
      this.#changed.set(room.nid, (this.#changes += 1));
    };
    stream.on('revealed', reread);
    stream.on('purged', reread);
    stream.on('restored', reread);
    stream.on('deleted', reread);
  }

  /** Whether a valid state is in memory. */
  has(userId: string, user: number, room: Room, ignored: ReadonlySet<string>): boolean {
    const state = this.#states.peek(keyOf(room, user));
    return state !== undefined && this.#isValid(state, room, room.member(userId)?.since, ignored);
  }

  /** A user's state up to a position, without events that are read by receipts; undefined where the database has to be read. */
  peek(userId: string, user: number, room: Room, end: number, ignored: ReadonlySet<string>): UnreadState | undefined {
    const since = room.member(userId)?.since;
    return this.#peek(userId, user, room, since, ignored, (state) => this.#catchUp(state, room, userId, end));
  }

  /**
   * `peek` for a user who is in a room since a position, of a room that need not be in memory itself: undefined also where something came that
   * was not counted yet.
   */
  peekCounted(
    userId: string,
    user: number,
    room: Pick<Room, 'nid'>,
    since: number,
    upTo: number,
    ignored: ReadonlySet<string>,
  ): UnreadState | undefined {
    return this.#peek(userId, user, room, since, ignored, ({ cursor }) => cursor >= upTo);
  }

  /** @param catchUp adds what has come since; false when that is not in memory */
  #peek(
    userId: string,
    user: number,
    room: Pick<Room, 'nid'>,
    since: number | undefined,
    ignored: ReadonlySet<string>,
    catchUp: (state: UnreadState) => boolean,
  ): UnreadState | undefined {
    const receipts = this.#receipts.peek(room);
    const key = keyOf(room, user);
    const state = this.#states.peek(key);
    if (receipts === undefined || state === undefined || !this.#isValid(state, room, since, ignored)) return undefined;
    const { size } = state;
    if (!catchUp(state)) return undefined;
    state.read(receipts.readPositions(userId));
    // Its size has changed: the cache computes it when it is set.
    if (state.size !== size) this.#states.set(key, state);
    return state;
  }

  /**
   * Position up to which no event of a room counts as unread for a user, apart from mentions, as far as that is known without counting: they
   * have read it, or too many events came after it.
   */
  countedFrom(userId: string, user: number | undefined, room: Room, ignored: ReadonlySet<string> | undefined): number {
    const known = user === undefined ? undefined : this.#states.peek(keyOf(room, user));
    const isKnown =
      known !== undefined && ignored !== undefined && this.#isValid(known, room, room.member(userId)?.since, ignored);
    return Math.max(isKnown ? known.readUpTo : 0, this.#windows.countedFrom(room));
  }

  #isValid(
    state: UnreadState,
    room: Pick<Room, 'nid'>,
    since: number | undefined,
    ignored: ReadonlySet<string>,
  ): boolean {
    if (state.since !== since || !isSameSet(state.ignored, ignored)) return false;
    return state.readAt >= (this.#changed.get(room.nid) ?? 0);
  }

  /** Determines the threads of new events, where that matters to the user and depends on the events that they relate to. */
  async settle(userId: string, user: number, room: Room, upTo: number): Promise<void> {
    const state = this.#states.peek(keyOf(room, user));
    if (state === undefined || upTo <= state.cursor) return;
    const recent = room.ring.between(state.cursor, upTo);
    if (recent === undefined) {
      const shared = this.#windows.since(room, state.cursor, upTo);
      return shared && this.#reader.settleShared(shared, readerOf(userId, state), room);
    }
    for (const event of recent)
      if (this.#isUnsure(event, userId, state))
        this.#threads.set(event, { root: await threadOf(this.#events, room, event) });
  }

  #isUnsure(event: StoredEvent, userId: string, state: UnreadState): boolean {
    if ((event.flags & EVENT_FLAGS.threaded) !== 0 || event.relation === undefined) return false;
    return mayCount(event, readerOf(userId, state)) && !this.#threads.has(event);
  }

  /** Adds new events; false when those in memory do not reach back far enough, or their threads are not known. */
  #catchUp(state: UnreadState, room: Room, userId: string, upTo: number): boolean {
    if (upTo <= state.cursor) return true;
    const events = room.ring.between(state.cursor, upTo);
    if (events === undefined) {
      const since = this.#windows.since(room, state.cursor, upTo);
      return since !== undefined && this.#reader.addShared(since, readerOf(userId, state), upTo);
    }
    if (events.some((event) => this.#isUnsure(event, userId, state))) return false;
    for (const event of events) {
      const own = event.sender === userId;
      if ((own && event.type === MEMBER) || state.ignored.has(event.sender)) continue;
      state.add({
        nid: event.nid,
        own,
        flags: event.flags,
        root: event.threadRoot ?? this.#threads.get(event)?.root,
        exception: state.exceptionOf(event.nid),
      });
    }
    state.moveTo(upTo);
    return true;
  }

  /** Reads the states of a user in several rooms, in few statements for all of them. */
  async load(userId: string, user: number, rooms: readonly Room[], ignored: ReadonlySet<string>): Promise<void> {
    const byKey = new Map(rooms.map((room) => [keyOf(room, user), room]));
    // What is in memory is outdated, or too far behind.
    for (const key of byKey.keys()) if (this.#states.peek(key) !== undefined) this.#states.forget(key);
    await this.#states.getAll([...byKey.keys()], async (keys) => {
      const missing = keys.flatMap((key) => byKey.get(key) ?? []);
      const states = await this.#read(userId, user, missing, ignored);
      return new Map([...states].map(([room, state]) => [keyOf(room, user), state]));
    });
  }

  async #read(
    userId: string,
    user: number,
    rooms: readonly Room[],
    ignored: ReadonlySet<string>,
  ): Promise<ReadonlyMap<Room, UnreadState>> {
    const fresh = new Map<number, FreshState>();
    const ranges = rooms.map((room): Range => {
      const since = room.member(userId)?.since ?? 0;
      const upTo = room.lastPosition;
      fresh.set(room.nid, { room, state: new UnreadState(since, upTo, ignored, this.#changes) });
      const read = this.#receipts.peek(room)?.readPositions(userId).unthreaded ?? 0;
      return { room: room.nid, after: Math.max(since, read), upTo };
    });
    await this.#reader.read(userId, user, fresh, ranges, ignored);
    return new Map(Array.from(fresh.values(), ({ room, state }) => [room, state]));
  }
}
