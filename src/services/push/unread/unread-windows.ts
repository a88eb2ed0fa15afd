import { LRUCache } from 'lru-cache';
import { atMost } from '#src/kernel/caches/at-most.ts';
import { CountedCache } from '#src/kernel/caches/counted-cache.ts';
import { firstIndex } from '#src/kernel/first-index.ts';
import { HIDDEN_FLAGS } from '#src/protocol/events/event-flags.ts';
import { MEMBER } from '#src/protocol/events/event-types.ts';
import type { RoomEventStream } from '#src/services/events/stream/room-event-stream.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { Database } from '#src/storage/database.ts';
import { MAX_EVENTS, unreadWindow } from '#src/storage/push/unread.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import { rootOfRecord } from './root-of-record.ts';

/** Rooms with a window in memory: 300 kB each at most. */
const MAX_ROOMS = 32;
/** Rooms that are remembered as having many unread events. */
const MAX_BUSY = 1_000;
/** So many unread events of one user are better read once for all users. */
const MANY = 256;

/** The facts of an event on which the unread counts of all users depend. */
export interface WindowEvent {
  readonly nid: number;
  readonly sender: string;
  readonly flags: number;
  readonly isMember: boolean;
  readonly isRedacted: boolean;
  /** Id of the root of the thread that it is in; undefined in the main timeline. */
  root: string | undefined;
  /** Its id, while its thread is not known: that depends on the event to which it relates. */
  unsure: string | undefined;
}

/** The newest events of a room, as far as unread counts depend on them. */
class UnreadWindow {
  /** Every event after this position is here. */
  #floor: number;
  /** Whether so many events come after the floor that none before it count. */
  #isFull: boolean;
  #events: WindowEvent[] = [];

  constructor(floor: number, isFull: boolean) {
    this.#floor = floor;
    this.#isFull = isFull;
  }

  /** Whether the window has everything that may count for a user who has read up to this position, apart from mentions. */
  covers(after: number): boolean {
    return this.#isFull || after >= this.#floor;
  }

  /** Whether the window has every event after this position. */
  reaches(after: number): boolean {
    return after >= this.#floor;
  }

  /** Adds an event that is newer than all others. */
  add(event: WindowEvent): void {
    this.#events.push(event);
    if (this.#events.length < 2 * MAX_EVENTS) return;
    this.#floor = this.#events[MAX_EVENTS - 1]?.nid ?? 0;
    this.#isFull = true;
    this.#events = this.#events.slice(MAX_EVENTS);
  }

  /** Position before the events that count, where there are too many for all of them to count; else 0. */
  get countedFrom(): number {
    const first = this.#events.at(-MAX_EVENTS);
    return first === undefined ? 0 : first.nid - 1;
  }

  /** Events with `after` < position <= `upTo`, in order; `most` of them at most, the newest. */
  between(after: number, upTo: number, most = Infinity): readonly WindowEvent[] {
    const end = firstAfter(this.#events, upTo);
    return this.#events.slice(Math.max(firstAfter(this.#events, after), end - most), end);
  }
}

const firstAfter = (events: readonly WindowEvent[], nid: number): number =>
  firstIndex(events.length, (index) => (events[index]?.nid ?? 0) <= nid);

const windowEventOf = (event: StoredEvent): WindowEvent => {
  const { eventId, flags, nid, redactedBecause, relation, sender, threadRoot: root, type } = event;
  const unsure = root === undefined && relation !== undefined ? eventId : undefined;
  return { nid, sender, flags, isMember: type === MEMBER, isRedacted: redactedBecause !== undefined, root, unsure };
};

interface Loading {
  /** Events that were committed meanwhile. */
  readonly events: WindowEvent[];
  readonly done: Promise<UnreadWindow | undefined>;
  isOutdated: boolean;
}

export interface UnreadWindowsOptions {
  readonly database: Database;
  readonly interner: Interner;
  readonly stream: RoomEventStream;
  readonly sharedFrom?: number;
}

/**
 * The newest events of rooms with many unread events, read once for all users. Otherwise the same thousands of rows would be read for each of
 * hundreds of absent members, at each push and when they come back.
 */
export class UnreadWindows {
  readonly #database: Database;
  readonly #interner: Interner;
  readonly #sharedFrom: number;
  readonly #windows = new CountedCache<number, UnreadWindow>('unread_windows', atMost(MAX_ROOMS));
  readonly #loading = new Map<number, Loading>();
  /** By room, a position after which there are many events. */
  readonly #busyAfter = new LRUCache<number, number>(atMost(MAX_BUSY));

  constructor({ database, interner, sharedFrom = MANY, stream }: UnreadWindowsOptions) {
    this.#database = database;
    this.#interner = interner;
    this.#sharedFrom = sharedFrom;
    stream.on('appended', ({ room, events }): undefined => {
      const window = this.#windows.peek(room.nid);
      const loading = this.#loading.get(room.nid);
      if (window === undefined && loading === undefined) return;
      for (const { event } of events) {
        // Events of the window may be redacted now.
        if (event.type === 'm.room.redaction') return this.#drop(room);
        if ((event.flags & HIDDEN_FLAGS) !== 0 || event.nid <= 0) continue;
        const noted = windowEventOf(event);
        window?.add(noted);
        loading?.events.push(noted);
      }
    });
    const drop = ({ room }: { readonly room: Room }): undefined => this.#drop(room);
    stream.on('revealed', drop);
    stream.on('purged', drop);
    stream.on('restored', drop);
    stream.on('deleted', drop);
  }

  /** Notes which events of a room were read for one user, in order. */
  note(room: Room, records: readonly { readonly nid: number }[]): void {
    const first = records.at(-this.#sharedFrom);
    if (first !== undefined) this.#busyAfter.set(room.nid, first.nid - 1);
  }

  /** Events of a room with `after` < position <= `upTo`, from memory; undefined where not all of them are there. */
  since(room: Room, after: number, upTo: number): readonly WindowEvent[] | undefined {
    const window = this.#windows.peek(room.nid);
    return window?.reaches(after) === true ? window.between(after, upTo) : undefined;
  }

  /** Position in a room after which events count as unread, as far as it is known; else 0. */
  countedFrom(room: Room): number {
    return this.#windows.peek(room.nid)?.countedFrom ?? 0;
  }

  /**
   * The room's newest events, as far as they may count for a user who has read up to a position: from memory, or read where that costs less than
   * to read them for the user alone; undefined otherwise.
   */
  async of(room: Room, after: number): Promise<UnreadWindow | undefined> {
    const known = this.#windows.get(room.nid);
    if (known?.covers(after) === true) return known;
    const loading = this.#loading.get(room.nid);
    if (loading === undefined && !this.isReadFor(room, after)) return undefined;
    const window = await (loading?.done ?? this.#load(room, after));
    return window?.covers(after) === true ? window : undefined;
  }

  /** Whether `of` would read the room's events: they are not in memory, nor being read, and there are many of them. */
  isReadFor(room: Room, after: number): boolean {
    if (this.#windows.peek(room.nid)?.covers(after) === true || this.#loading.has(room.nid)) return false;
    return after <= (this.#busyAfter.get(room.nid) ?? -1);
  }

  /** Undefined when it became outdated while it was read. */
  #load(room: Room, after: number): Promise<UnreadWindow | undefined> {
    const events: Loading['events'] = [];
    const read = async (): Promise<UnreadWindow | undefined> => {
      try {
        const window = await this.#read(room, after);
        if (loading.isOutdated) return undefined;
        for (const event of events) window.add(event);
        this.#windows.set(room.nid, window);
        return window;
      } finally {
        this.#loading.delete(room.nid);
      }
    };
    const loading: Loading = { events, done: read(), isOutdated: false };
    this.#loading.set(room.nid, loading);
    return loading.done;
  }

  async #read(room: Room, after: number): Promise<UnreadWindow> {
    // Events that are committed from now on are added afterwards.
    const upTo = room.lastPosition;
    const types = await this.#interner.find({ types: [MEMBER] });
    const records = await unreadWindow(this.#database, { room: room.nid, after, upTo }, types.peekType(MEMBER) ?? 0);
    const names = await this.#interner.named({ users: records.map((record) => record.sender) });
    const isFull = records.length >= MAX_EVENTS;
    const window = new UnreadWindow(isFull ? (records[0]?.nid ?? 0) - 1 : after, isFull);
    for (const record of records) {
      if ((record.flags & HIDDEN_FLAGS) !== 0) continue;
      window.add({
        nid: record.nid,
        sender: names.userName(record.sender),
        flags: record.flags,
        isMember: record.is_member,
        isRedacted: record.is_redacted,
        root: rootOfRecord(room, record),
        unsure: undefined,
      });
    }
    return window;
  }

  #drop(room: Room): undefined {
    this.#windows.delete(room.nid);
    const loading = this.#loading.get(room.nid);
    if (loading !== undefined) loading.isOutdated = true;
  }
}
