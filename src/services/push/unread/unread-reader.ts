import { EVENT_FLAGS } from '#src/protocol/events/event-flags.ts';
import { MEMBER } from '#src/protocol/events/event-types.ts';
import { MENTION_KINDS, type MentionKind } from '#src/services/events/building/notification-class.ts';
import type { EventService } from '#src/services/events/stream/event-service.ts';
import { threadOf } from '#src/services/push/receipts/threads.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { Database } from '#src/storage/database.ts';
import { MAX_EVENTS, unreadEvents, unreadMentions, type UnreadRecord } from '#src/storage/push/unread.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import { rootOfRecord } from './root-of-record.ts';
import type { UnreadState } from './unread-state.ts';
import type { UnreadWindows, WindowEvent } from './unread-windows.ts';

/** Most rooms whose events are read for all users, a statement each. Those of further rooms are read together, for one user. */
const MAX_SHARED_READS = 8;

export const asKind = (kind: number): MentionKind =>
  kind === MENTION_KINDS.highlight
    ? MENTION_KINDS.highlight
    : kind === MENTION_KINDS.notify
      ? MENTION_KINDS.notify
      : MENTION_KINDS.silent;

/** A user whose events are counted. */
export interface Reader {
  readonly userId: string;
  readonly state: UnreadState;
  /** How an event notifies them, where that differs from its class. */
  readonly exceptionOf: (nid: number) => MentionKind | undefined;
}

export const readerOf = (userId: string, state: UnreadState): Reader => ({
  userId,
  state,
  exceptionOf: (nid) => state.exceptionOf(nid),
});

/** Whether an event may count as unread for a user, or as a sign that they have read earlier ones. */
export const mayCount = (
  { flags, nid, sender }: Pick<StoredEvent, 'flags' | 'nid' | 'sender'>,
  { exceptionOf, userId }: Reader,
): boolean =>
  sender === userId ||
  (flags & (EVENT_FLAGS.notifies | EVENT_FLAGS.notifiesFollowers)) !== 0 ||
  exceptionOf(nid) !== undefined;

const isUnsure = (event: WindowEvent, reader: Reader): boolean => event.unsure !== undefined && mayCount(event, reader);

/** A span of positions of a room in which something may be unread. */
export interface Range {
  readonly room: number;
  readonly after: number;
  readonly upTo: number;
}

/** A state that is being read. */
export interface FreshState {
  readonly room: Room;
  readonly state: UnreadState;
}

/** A part of a room's events that is in memory for all users. */
interface Shared extends Range {
  readonly into: FreshState;
  readonly events: readonly WindowEvent[];
  /** The position before the first of the events. */
  readonly floor: number;
}

export interface UnreadReaderOptions {
  readonly database: Database;
  readonly interner: Interner;
  readonly events: EventService;
  readonly windows: UnreadWindows;
}

/** Reads the unread events of a user, from windows shared by all users or from the database. */
export class UnreadReader {
  readonly #database: Database;
  readonly #interner: Interner;
  readonly #events: EventService;
  readonly #windows: UnreadWindows;

  constructor(options: UnreadReaderOptions) {
    this.#database = options.database;
    this.#interner = options.interner;
    this.#events = options.events;
    this.#windows = options.windows;
  }

  /** Fills new states, in few statements for all rooms. */
  async read(
    userId: string,
    user: number,
    fresh: ReadonlyMap<number, FreshState>,
    ranges: readonly Range[],
    ignored: ReadonlySet<string>,
  ): Promise<void> {
    const shared = await this.#sharedOf(fresh, ranges);
    const isShared = new Set(shared.map(({ room }) => room));
    const alone = ranges.filter(({ room }) => !isShared.has(room));
    if (alone.length > 0) await this.#readAlone(user, fresh, alone, ignored);
    if (shared.length > 0) await this.#readShared(userId, user, fresh, shared, ignored);
  }

  /** The parts that are in memory for all users, or are read for all of them now. */
  async #sharedOf(fresh: ReadonlyMap<number, FreshState>, ranges: readonly Range[]): Promise<readonly Shared[]> {
    let read = 0;
    const found = await Promise.all(
      ranges.map(async (range): Promise<readonly Shared[]> => {
        const into = fresh.get(range.room);
        if (into === undefined) return [];
        if (this.#windows.isReadFor(into.room, range.after) && (read += 1) > MAX_SHARED_READS) return [];
        const window = await this.#windows.of(into.room, range.after);
        if (window === undefined) return [];
        const events = window.between(range.after, range.upTo, MAX_EVENTS);
        return [{ ...range, into, events, floor: (events[0]?.nid ?? range.upTo + 1) - 1 }];
      }),
    );
    return found.flat();
  }

  /** Reads the events since the last one that the user has read. */
  async #readAlone(
    user: number,
    fresh: ReadonlyMap<number, FreshState>,
    ranges: readonly Range[],
    ignored: ReadonlySet<string>,
  ): Promise<void> {
    const records = await unreadEvents(this.#database, user, ranges, await this.#memberType());
    const byRoom = Map.groupBy(records, ({ room }) => room);
    for (const { room } of fresh.values()) this.#windows.note(room, byRoom.get(room.nid) ?? []);
    await this.#addRecords(user, fresh, records, ignored);
  }

  /** Takes these events from memory shared by all users, and reads the user's exceptions. */
  async #readShared(
    userId: string,
    user: number,
    fresh: ReadonlyMap<number, FreshState>,
    shared: readonly Shared[],
    ignored: ReadonlySet<string>,
  ): Promise<void> {
    const records = await unreadMentions(this.#database, user, shared, await this.#memberType());
    const floors = new Map(shared.map(({ room, floor }) => [room, floor]));
    const isOlder = ({ room, nid }: UnreadRecord): boolean => nid <= (floors.get(room) ?? 0);
    await this.#addRecords(user, fresh, records.filter(isOlder), ignored);
    // Each position belongs to one room.
    const exceptions = new Map<number, MentionKind>();
    for (const record of records) if (!isOlder(record)) exceptions.set(record.nid, asKind(record.kind ?? 0));
    for (const { events, into, upTo } of shared) {
      const reader = { userId, state: into.state, exceptionOf: (nid: number) => exceptions.get(nid) };
      await this.settleShared(events, reader, into.room);
      this.addShared(events, reader, upTo);
    }
  }

  /** Determines the threads of events, where that matters to the user and depends on the events that they relate to. */
  async settleShared(events: readonly WindowEvent[], reader: Reader, room: Room): Promise<void> {
    for (const event of events) {
      if (!isUnsure(event, reader)) continue;
      const whole = await this.#events.find(room, event.unsure ?? '');
      event.root = whole && (await threadOf(this.#events, room, whole));
      event.unsure = undefined;
    }
  }

  /** Adds events that are in memory for all users; false when the thread of one of them is not known. */
  addShared(events: readonly WindowEvent[], reader: Reader, upTo: number): boolean {
    const { exceptionOf, state, userId } = reader;
    if (events.some((event) => isUnsure(event, reader))) return false;
    for (const { nid, sender, flags, isMember, isRedacted, root } of events) {
      const own = sender === userId;
      if (own ? isMember : isRedacted || state.ignored.has(sender)) continue;
      state.add({ nid, own, flags, root, exception: exceptionOf(nid) });
    }
    state.moveTo(upTo);
    return true;
  }

  async #addRecords(
    user: number,
    fresh: ReadonlyMap<number, FreshState>,
    records: readonly UnreadRecord[],
    ignored: ReadonlySet<string>,
  ): Promise<void> {
    const names = await this.#interner.named({ users: ignored.size > 0 ? records.map((record) => record.sender) : [] });
    for (const record of records) {
      const into = fresh.get(record.room);
      if (into === undefined || (ignored.size > 0 && ignored.has(names.userName(record.sender)))) continue;
      into.state.add({
        nid: record.nid,
        own: record.sender === user,
        flags: record.flags,
        root: rootOfRecord(into.room, record),
        exception: record.kind === null ? undefined : asKind(record.kind),
      });
    }
  }

  async #memberType(): Promise<number> {
    return (await this.#interner.find({ types: [MEMBER] })).peekType(MEMBER) ?? 0;
  }
}
