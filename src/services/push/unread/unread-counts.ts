import { EVENT_FLAGS } from '#src/protocol/events/event-flags.ts';
import { LRUCache } from 'lru-cache';
import { CountedCache } from '#src/kernel/counted-cache.ts';
import { atMost } from '#src/kernel/at-most.ts';
import type { IgnoredUsers } from '#src/services/user-data/account-data/ignored-users.ts';
import type { EventService } from '#src/services/events/stream/event-service.ts';
import type { RoomEventStream } from '#src/services/events/stream/room-event-stream.ts';
import { MENTION_KINDS, type MentionKind } from '#src/services/events/building/notification-class.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { UserRules } from '#src/services/push/rules/user-rules.ts';
import type { FollowedThreads } from '#src/services/push/threads/followed-threads.ts';
import type { UserThreads } from '#src/services/push/threads/user-threads.ts';
import type { PushRuleService } from '#src/services/push/rules/push-rule-service.ts';
import { threadOf } from '#src/services/push/receipts/threads.ts';
import type { ReceiptService } from '#src/services/push/receipts/receipt-service.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { Database } from '#src/storage/database.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import { MAX_EVENTS, unreadEvents, unreadMentions, type UnreadRecord } from '#src/storage/push/unread.ts';
import { rootOfRecord } from './root-of-record.ts';
import { type NotifyRule, notifyRuleWith } from './unread-list.ts';
import { type RoomUnread, UnreadState } from './unread-state.ts';
import { UnreadWindows, type WindowEvent } from './unread-windows.ts';

const MEMBER = 'm.room.member';
const NOTHING: RoomUnread = { notification: 0, highlight: 0, threads: new Map() };
/** Rooms whose events are read for all users at once, a statement each; those of others are read together, for one user. */
const MAX_SHARED_READS = 8;
/** How often a state is read again when it was dropped while it was read. */
const LOAD_ATTEMPTS = 5;

const asKind = (kind: number): MentionKind =>
  kind === MENTION_KINDS.highlight
    ? MENTION_KINDS.highlight
    : kind === MENTION_KINDS.notify
      ? MENTION_KINDS.notify
      : MENTION_KINDS.silent;

/** The list may have been read again since. */
const isSameSet = (one: ReadonlySet<string>, other: ReadonlySet<string>): boolean =>
  one === other || (one.size === other.size && [...one].every((userId) => other.has(userId)));

const keyOf = (room: Pick<Room, 'nid'>, user: number): string => `${room.nid} ${user}`;

/** A user whose events are counted. */
interface Reader {
  readonly userId: string;
  readonly state: UnreadState;
  /** What an event is to them otherwise than its class says. */
  readonly exceptionOf: (nid: number) => MentionKind | undefined;
}

const readerOf = (userId: string, state: UnreadState): Reader => ({
  userId,
  state,
  exceptionOf: (nid) => state.exceptionOf(nid),
});

/** Whether an event may be one that a user has not read, or by which they have read others. */
const mayCount = (
  { flags, nid, sender }: Pick<StoredEvent, 'flags' | 'nid' | 'sender'>,
  { exceptionOf, userId }: Reader,
): boolean =>
  sender === userId ||
  (flags & (EVENT_FLAGS.notifies | EVENT_FLAGS.notifiesFollowers)) !== 0 ||
  exceptionOf(nid) !== undefined;

const isUnsure = (event: WindowEvent, reader: Reader): boolean => event.unsure !== undefined && mayCount(event, reader);

/** A user's unread events in a room, and the rules that decide which of them count. */
interface Unread {
  readonly state: UnreadState;
  readonly rules: UserRules;
  readonly threads: UserThreads | undefined;
  readonly room: Room;
}

const mainOf = ({ rules, room }: Unread): NotifyRule => notifyRuleWith(rules.modeIn(room.roomId));
const inThread = ({ rules, threads, room }: Unread, root: string): NotifyRule =>
  notifyRuleOf(rules, threads, room, root);

const countOf = (unread: Unread, end: number): RoomUnread =>
  unread.state.count(end, mainOf(unread), (root) => inThread(unread, root));

/** How a user is notified of a thread: events from before the subscription notify them as they did then. */
const notifyRuleOf = (rules: UserRules, threads: UserThreads | undefined, room: Room, root: string): NotifyRule => {
  const decision = threads?.of(room.nid, root);
  const others = rules.threadModeIn(room.roomId, false);
  if (decision?.automatic === undefined) return { mode: others };
  return { mode: rules.threadModeIn(room.roomId, true), since: decision.at, before: others };
};

/** Positions in a room between which something may be unread. */
interface Range {
  readonly room: number;
  readonly after: number;
  readonly upTo: number;
}

/** A state that is being read. */
interface Fresh {
  readonly room: Room;
  readonly state: UnreadState;
}

/** A part of a room's events that is in memory for all users. */
interface Shared extends Range {
  readonly into: Fresh;
  readonly events: readonly WindowEvent[];
  /** The position before the first of the events. */
  readonly floor: number;
}

export interface UnreadCountsOptions {
  readonly database: Database;
  readonly interner: Interner;
  readonly events: EventService;
  readonly stream: RoomEventStream;
  readonly receipts: ReceiptService;
  readonly pushRules: PushRuleService;
  readonly followedThreads: Pick<FollowedThreads, 'peek' | 'load'>;
  readonly ignoredUsers: IgnoredUsers;
  /** Unread events kept in memory, for all users and rooms together; default 4 million (about 10 bytes each). */
  readonly cacheSize?: number;
  /** From how many unread events of a room on they are read once for all users; default 256. */
  readonly sharedFrom?: number;
}

/**
 * Unread counts of users. Client-Server API, "Receiving notifications".
 *
 * A message writes nothing here: counts are computed when they are asked for, from the last ones and the room's
 * newest events in memory; only for a user who was away for long, or asks for the first time, the database is read.
 */
export class UnreadCounts {
  readonly #database: Database;
  readonly #events: EventService;
  readonly #interner: Interner;
  readonly #receipts: ReceiptService;
  readonly #pushRules: PushRuleService;
  readonly #followed: Pick<FollowedThreads, 'peek' | 'load'>;
  readonly #ignored: IgnoredUsers;
  readonly #states: LRUCache<string, UnreadState>;
  readonly #windows: UnreadWindows;
  readonly #loading = new Map<string, { readonly state: UnreadState; readonly done: Promise<void> }>();
  /** The threads of events that are in one, or in none, by what they relate to. */
  readonly #threads = new WeakMap<StoredEvent, { readonly root: string | undefined }>();
  /** Redactions and other changes of the past of rooms so far, and by room, which was the last: what was read before it may be another by now. */
  #changes = 0;
  readonly #changed = new LRUCache<number, number>(atMost(100_000));

  constructor(options: UnreadCountsOptions) {
    this.#database = options.database;
    this.#events = options.events;
    this.#interner = options.interner;
    this.#receipts = options.receipts;
    this.#pushRules = options.pushRules;
    this.#followed = options.followedThreads;
    this.#ignored = options.ignoredUsers;
    this.#states = new CountedCache(
      'unread_counts',
      { maxSize: options.cacheSize ?? 4_000_000, sizeCalculation: (state) => state.size },
      'parts',
    );
    const { stream } = options;
    this.#windows = new UnreadWindows(options);
    stream.on('appended', ({ room, events }) => {
      for (const { event, mentions } of events) {
        for (const { user, kind } of mentions) {
          const key = keyOf(room, user);
          for (const state of [this.#states.peek(key), this.#loading.get(key)?.state])
            state?.note(event.nid, asKind(kind));
        }
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

  /**
   * What a user has not read in a room.
   *
   * @param upTo position of the newest event that counts
   */
  async counts(userId: string, room: Room, upTo: number): Promise<RoomUnread> {
    const end = Math.min(upTo, room.lastPosition);
    const known = await this.#stateOf(userId, room, end);
    return known === undefined ? NOTHING : countOf(known, end);
  }

  /** The same, if all that it takes is in memory; undefined where something has to be read. */
  peekCounts(userId: string, room: Room, upTo: number): RoomUnread | undefined {
    const end = Math.min(upTo, room.lastPosition);
    const known = this.#peekUpTo(userId, room, end);
    return known === undefined ? undefined : countOf(known, end);
  }

  /** Whether an event of a room notifies a user who is in it, and is not read yet. */
  async isUnread(userId: string, room: Room, nid: number): Promise<boolean> {
    const known = await this.#stateOf(userId, room, room.lastPosition);
    return known?.state.has(nid, mainOf(known), (root) => inThread(known, root)) === true;
  }

  /** The same of any event, if all that it takes is in memory; undefined where something has to be read, or the user is not in the room. */
  peekUnread(userId: string, room: Room): ((nid: number) => boolean) | undefined {
    const known = this.#peekUpTo(userId, room, room.lastPosition);
    if (known === undefined) return undefined;
    const main = mainOf(known);
    return (nid) => known.state.has(nid, main, (root) => inThread(known, root));
  }

  /**
   * Position up to which no event of a room counts as unread for a user but those that mention them, as far as that is known without counting:
   * they have read it, or so much came after it.
   */
  countedFrom(userId: string, room: Room): number {
    const user = this.#interner.peekUser(userId);
    const ignored = this.#ignored.peek(userId);
    const known = user === undefined ? undefined : this.#states.peek(keyOf(room, user));
    const isKnown = known !== undefined && ignored !== undefined && this.#isValid(known, room, userId, ignored);
    return Math.max(isKnown ? known.readUpTo : 0, this.#windows.countedFrom(room));
  }

  /** What is unread for a user up to a position, if all that it takes is in memory. */
  #peekUpTo(userId: string, room: Room, end: number): Unread | undefined {
    const user = this.#interner.peekUser(userId);
    const ignored = this.#ignored.peek(userId);
    if (user === undefined || ignored === undefined) return undefined;
    return this.#peek(userId, user, room, end, ignored);
  }

  /** A user's unread events up to a position, and the rules that apply; undefined when they are not in the room. */
  async #stateOf(userId: string, room: Room, end: number): Promise<Unread | undefined> {
    const user = this.#interner.peekUser(userId) ?? (await this.#interner.userNid(userId));
    for (let attempt = 0; attempt < LOAD_ATTEMPTS; attempt++) {
      if (room.member(userId)?.membership !== 'join') return undefined;
      if (this.#receipts.peek(room) === undefined) await this.#receipts.forRoom(room);
      const rules = this.#pushRules.peek(userId) ?? (await this.#pushRules.rulesOf(userId));
      if (rules.asksForThreads && this.#followed.peek(userId) === undefined) await this.#followed.load(userId);
      const ignored = await this.#ignored.of(userId);
      await this.#settle(this.#states.get(keyOf(room, user)), room, userId, end);
      const known = this.#peek(userId, user, room, end, ignored);
      if (known !== undefined) return known;
      await this.#load(userId, user, [room]);
    }
    throw new Error(`what ${userId} has not read in ${room.roomId} changes faster than it can be read`);
  }

  /** The same, if all that it takes is in memory. */
  #peek(userId: string, user: number, room: Room, end: number, ignored: ReadonlySet<string>): Unread | undefined {
    const member = room.member(userId);
    const receipts = this.#receipts.peek(room);
    const rules = this.#pushRules.peek(userId);
    if (member?.membership !== 'join' || receipts === undefined || rules === undefined) return undefined;
    const threads = rules.asksForThreads ? this.#followed.peek(userId) : undefined;
    if (rules.asksForThreads && threads === undefined) return undefined;
    const key = keyOf(room, user);
    const state = this.#states.get(key);
    if (state === undefined || !this.#isValid(state, room, userId, ignored)) return undefined;
    const { size } = state;
    if (!this.#catchUp(state, room, userId, end)) return undefined;
    state.read(receipts.readPositions(userId));
    // It weighs something else by now, which is asked for when it is set.
    if (state.size !== size) this.#states.set(key, state);
    return { state, rules, threads, room };
  }

  /** Whether something came to a room after what a user has read there, by what is in memory: receipts, and the room. */
  mayHaveUnread(userId: string, room: Room): boolean {
    const since = room.member(userId)?.since ?? 0;
    const read = this.#receipts.peek(room)?.readPositions(userId).unthreaded ?? 0;
    return room.lastPosition > Math.max(since, read);
  }

  /** Reads what `counts` needs for several rooms at once, in four statements, and one for each of a few rooms in which much is unread. */
  async load(userId: string, rooms: readonly Room[]): Promise<void> {
    const user = await this.#interner.userNid(userId);
    await this.#pushRules.load([userId]);
    const ignored = await this.#ignored.of(userId);
    const cold = rooms.filter((room) => {
      const state = this.#states.get(keyOf(room, user));
      return room.isJoined(userId) && (state === undefined || !this.#isValid(state, room, userId, ignored));
    });
    if (cold.length === 0) return;
    await this.#receipts.forRooms(cold);
    await this.#load(userId, user, cold);
  }

  #isValid(state: UnreadState, room: Room, userId: string, ignored: ReadonlySet<string>): boolean {
    if (state.since !== room.member(userId)?.since || !isSameSet(state.ignored, ignored)) return false;
    return state.readAt >= (this.#changed.get(room.nid) ?? 0);
  }

  /** Finds out of what has come since in which thread it is, where that matters to the user and what it relates to tells. */
  async #settle(state: UnreadState | undefined, room: Room, userId: string, upTo: number): Promise<void> {
    if (state === undefined || upTo <= state.cursor) return;
    const recent = room.ring.between(state.cursor, upTo);
    if (recent === undefined) {
      const shared = this.#windows.since(room, state.cursor, upTo);
      return shared && this.#settleShared(shared, readerOf(userId, state), room);
    }
    for (const event of recent)
      if (this.#isUnsure(event, userId, state))
        this.#threads.set(event, { root: await threadOf(this.#events, room, event) });
  }

  async #settleShared(events: readonly WindowEvent[], reader: Reader, room: Room): Promise<void> {
    for (const event of events) {
      if (!isUnsure(event, reader)) continue;
      const whole = await this.#events.find(room, event.unsure ?? '');
      event.root = whole && (await threadOf(this.#events, room, whole));
      event.unsure = undefined;
    }
  }

  #isUnsure(event: StoredEvent, userId: string, state: UnreadState): boolean {
    if ((event.flags & EVENT_FLAGS.threaded) !== 0 || event.relation === undefined) return false;
    return mayCount(event, readerOf(userId, state)) && !this.#threads.has(event);
  }

  /** Adds what has come since; false when the events in memory do not reach back that far, or tell too little. */
  #catchUp(state: UnreadState, room: Room, userId: string, upTo: number): boolean {
    if (upTo <= state.cursor) return true;
    const events = room.ring.between(state.cursor, upTo);
    if (events === undefined) {
      const since = this.#windows.since(room, state.cursor, upTo);
      return since !== undefined && this.#addShared(since, readerOf(userId, state), upTo);
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

  async #load(userId: string, user: number, rooms: readonly Room[]): Promise<void> {
    const fresh = new Map<number, Fresh>();
    const ranges: Range[] = [];
    const waitFor = new Set<Promise<void>>();
    const ignored = await this.#ignored.of(userId);
    for (const room of rooms) {
      const loading = this.#loading.get(keyOf(room, user));
      if (loading !== undefined) {
        waitFor.add(loading.done);
        continue;
      }
      const since = room.member(userId)?.since ?? 0;
      const upTo = room.lastPosition;
      fresh.set(room.nid, { room, state: new UnreadState(since, upTo, ignored, this.#changes) });
      const read = this.#receipts.peek(room)?.readPositions(userId).unthreaded ?? 0;
      ranges.push({ room: room.nid, after: Math.max(since, read), upTo });
    }
    if (fresh.size > 0) {
      const done = this.#read(userId, user, fresh, ranges, ignored);
      // Registered before it is read, so that exceptions that are committed meanwhile are noted.
      for (const { room, state } of fresh.values()) this.#loading.set(keyOf(room, user), { state, done });
      waitFor.add(done);
    }
    await Promise.all(waitFor);
  }

  async #read(
    userId: string,
    user: number,
    fresh: ReadonlyMap<number, Fresh>,
    ranges: readonly Range[],
    ignored: ReadonlySet<string>,
  ): Promise<void> {
    try {
      const shared = await this.#sharedOf(fresh, ranges);
      const isShared = new Set(shared.map(({ room }) => room));
      const alone = ranges.filter(({ room }) => !isShared.has(room));
      if (alone.length > 0) await this.#readAlone(user, fresh, alone, ignored);
      if (shared.length > 0) await this.#readShared(userId, user, fresh, shared, ignored);
      for (const { room, state } of fresh.values()) this.#states.set(keyOf(room, user), state);
    } finally {
      for (const { room } of fresh.values()) this.#loading.delete(keyOf(room, user));
    }
  }

  /** What is in memory for all users, or read for all of them, of a few rooms at once. */
  async #sharedOf(fresh: ReadonlyMap<number, Fresh>, ranges: readonly Range[]): Promise<readonly Shared[]> {
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

  /** Reads for one user what has come since they read something. */
  async #readAlone(
    user: number,
    fresh: ReadonlyMap<number, Fresh>,
    ranges: readonly Range[],
    ignored: ReadonlySet<string>,
  ): Promise<void> {
    const records = await unreadEvents(this.#database, user, ranges, await this.#memberType());
    const byRoom = Map.groupBy(records, ({ room }) => room);
    for (const { room } of fresh.values()) this.#windows.note(room, byRoom.get(room.nid) ?? []);
    await this.#addRecords(user, fresh, records, ignored);
  }

  /** Takes what has come since from what is in memory for all users, and reads what means something else to this one. */
  async #readShared(
    userId: string,
    user: number,
    fresh: ReadonlyMap<number, Fresh>,
    shared: readonly Shared[],
    ignored: ReadonlySet<string>,
  ): Promise<void> {
    const records = await unreadMentions(this.#database, user, shared, await this.#memberType());
    const floors = new Map(shared.map(({ room, floor }) => [room, floor]));
    const isOlder = ({ room, nid }: UnreadRecord): boolean => nid <= (floors.get(room) ?? 0);
    await this.#addRecords(user, fresh, records.filter(isOlder), ignored);
    // Positions are those of one room each.
    const exceptions = new Map<number, MentionKind>();
    for (const record of records) if (!isOlder(record)) exceptions.set(record.nid, asKind(record.kind ?? 0));
    for (const { events, into, upTo } of shared) {
      const reader = { userId, state: into.state, exceptionOf: (nid: number) => exceptions.get(nid) };
      await this.#settleShared(events, reader, into.room);
      this.#addShared(events, reader, upTo);
    }
  }

  /** Adds events that are in memory for all users; false when it is not known of all of them in which thread they are. */
  #addShared(events: readonly WindowEvent[], reader: Reader, upTo: number): boolean {
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
    fresh: ReadonlyMap<number, Fresh>,
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
