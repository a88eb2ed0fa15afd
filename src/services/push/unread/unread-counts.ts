import { EVENT_FLAGS } from '#src/protocol/events/event-flags.ts';
import { LRUCache } from 'lru-cache';
import { CountedCache } from '#src/kernel/counted-cache.ts';
import { atMost } from '#src/kernel/at-most.ts';
import type { IgnoredUsers } from '#src/services/user-data/account-data/ignored-users.ts';
import { eventIdText } from '#src/services/room-model/event/event-ids.ts';
import type { EventService } from '#src/services/events/stream/event-service.ts';
import type { RoomEventStream } from '#src/services/events/stream/room-event-stream.ts';
import { MENTION_KINDS, type MentionKind } from '#src/services/events/building/notification-class.ts';
import { relationOf, type StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { UserRules } from '#src/services/push/rules/user-rules.ts';
import type { FollowedThreads } from '#src/services/push/threads/followed-threads.ts';
import type { UserThreads } from '#src/services/push/threads/user-threads.ts';
import type { PushRuleService } from '#src/services/push/rules/push-rule-service.ts';
import { threadOf } from '#src/services/push/receipts/threads.ts';
import type { ReceiptService } from '#src/services/push/receipts/receipt-service.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { Database } from '#src/storage/database.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import { unreadEvents, type UnreadRecord } from '#src/storage/push/unread.ts';
import { type Hearing, hearingWith } from './unread-list.ts';
import { type RoomUnread, UnreadState } from './unread-state.ts';

const MEMBER = 'm.room.member';
const NOTHING: RoomUnread = { notification: 0, highlight: 0, threads: new Map() };
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

/** Id of the root of the thread that an event is in. */
const rootOf = (room: Room, record: UnreadRecord): string | undefined => {
  if (record.root_id !== null) return eventIdText(room.version, record.root_id);
  if (record.json === null) return undefined;
  const { content } = JSON.parse(record.json) as Partial<Pick<StoredEvent['pdu'], 'content'>>;
  return content === undefined ? undefined : relationOf(content)?.eventId;
};

/** A user's unread events in a room, and the rules that decide which of them count. */
interface Unread {
  readonly state: UnreadState;
  readonly rules: UserRules;
  readonly threads: UserThreads | undefined;
  readonly room: Room;
}

const mainOf = ({ rules, room }: Unread): Hearing => hearingWith(rules.modeIn(room.roomId));
const inThread = ({ rules, threads, room }: Unread, root: string): Hearing => hearingOf(rules, threads, room, root);

const countOf = (unread: Unread, end: number): RoomUnread =>
  unread.state.count(end, mainOf(unread), (root) => inThread(unread, root));

/** How a user is notified of a thread: events from before the subscription notify them as they did then. */
const hearingOf = (rules: UserRules, threads: UserThreads | undefined, room: Room, root: string): Hearing => {
  const decision = threads?.of(room.nid, root);
  const others = rules.threadModeIn(room.roomId, false);
  if (decision?.automatic === undefined) return { mode: others };
  return { mode: rules.threadModeIn(room.roomId, true), since: decision.at, before: others };
};

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
  readonly #loading = new Map<string, { readonly state: UnreadState; readonly done: Promise<void> }>();
  /** The threads of events that are in one, or in none, by what they relate to. */
  readonly #threads = new WeakMap<StoredEvent, { readonly root: string | undefined }>();
  /** Position of each room's last redaction or other change of its past: what was read before it may count what is not there any more. */
  readonly #redacted = new LRUCache<number, number>(atMost(100_000));

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
    stream.on('appended', ({ room, events }) => {
      for (const { event, mentions } of events) {
        for (const { user, kind } of mentions) {
          const key = keyOf(room, user);
          for (const state of [this.#states.peek(key), this.#loading.get(key)?.state])
            state?.note(event.nid, asKind(kind));
        }
        if (event.type === 'm.room.redaction') this.#redacted.set(room.nid, event.nid);
      }
    });
    const reread = ({ room }: { readonly room: Room }): undefined => {
      this.#redacted.set(room.nid, room.lastPosition);
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
    const user = this.#interner.peekUser(userId);
    const ignored = this.#ignored.peek(userId);
    if (user === undefined || ignored === undefined) return undefined;
    const end = Math.min(upTo, room.lastPosition);
    const known = this.#peek(userId, user, room, end, ignored);
    return known === undefined ? undefined : countOf(known, end);
  }

  /** Whether an event of a room notifies a user who is in it, and is not read yet. */
  async isUnread(userId: string, room: Room, nid: number): Promise<boolean> {
    const known = await this.#stateOf(userId, room, room.lastPosition);
    return known?.state.has(nid, mainOf(known), (root) => inThread(known, root)) === true;
  }

  /** The same of any event, if all that it takes is in memory; undefined where something has to be read, or the user is not in the room. */
  peekUnread(userId: string, room: Room): ((nid: number) => boolean) | undefined {
    const user = this.#interner.peekUser(userId);
    const ignored = this.#ignored.peek(userId);
    if (user === undefined || ignored === undefined) return undefined;
    const known = this.#peek(userId, user, room, room.lastPosition, ignored);
    if (known === undefined) return undefined;
    const main = mainOf(known);
    return (nid) => known.state.has(nid, main, (root) => inThread(known, root));
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
      const unsure = this.#unsure(this.#states.get(keyOf(room, user)), room, userId, end);
      for (const event of unsure) this.#threads.set(event, { root: await threadOf(this.#events, room, event) });
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

  /** Reads what `counts` needs for several rooms at once, in four statements at most. */
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
    return state.loadedUpTo >= (this.#redacted.get(room.nid) ?? 0);
  }

  /** What has come since and counts, and is in a thread perhaps: what it relates to tells. */
  #unsure(state: UnreadState | undefined, room: Room, userId: string, upTo: number): readonly StoredEvent[] {
    if (state === undefined || upTo <= state.cursor) return [];
    return (room.ring.between(state.cursor, upTo) ?? []).filter(
      (event) => this.#needsThread(event, state, userId) && !this.#threads.has(event),
    );
  }

  #needsThread(event: StoredEvent, state: UnreadState, userId: string): boolean {
    if ((event.flags & EVENT_FLAGS.threaded) !== 0) return false;
    const counts =
      event.sender === userId ||
      (event.flags & (EVENT_FLAGS.notifies | EVENT_FLAGS.notifiesFollowers)) !== 0 ||
      state.exceptionOf(event.nid) !== undefined;
    return counts && event.relation !== undefined;
  }

  /** Adds what has come since; false when the room's events in memory do not reach back that far, or tell too little. */
  #catchUp(state: UnreadState, room: Room, userId: string, upTo: number): boolean {
    if (upTo <= state.cursor) return true;
    const events = room.ring.between(state.cursor, upTo);
    if (events === undefined) return false;
    if (events.some((event) => this.#needsThread(event, state, userId) && !this.#threads.has(event))) return false;
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
    const fresh = new Map<number, { readonly room: Room; readonly state: UnreadState }>();
    const ranges: { room: number; after: number; upTo: number }[] = [];
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
      fresh.set(room.nid, { room, state: new UnreadState(since, upTo, ignored) });
      const read = this.#receipts.peek(room)?.readPositions(userId).unthreaded ?? 0;
      ranges.push({ room: room.nid, after: Math.max(since, read), upTo });
    }
    if (fresh.size > 0) {
      const done = this.#read(user, fresh, ranges, ignored);
      // Registered before it is read, so that exceptions that are committed meanwhile are noted.
      for (const { room, state } of fresh.values()) this.#loading.set(keyOf(room, user), { state, done });
      waitFor.add(done);
    }
    await Promise.all(waitFor);
  }

  async #read(
    user: number,
    fresh: ReadonlyMap<number, { readonly room: Room; readonly state: UnreadState }>,
    ranges: Parameters<typeof unreadEvents>[2],
    ignored: ReadonlySet<string>,
  ): Promise<void> {
    try {
      const { database, interner } = { database: this.#database, interner: this.#interner };
      const types = await interner.find({ types: [MEMBER] });
      const records = await unreadEvents(database, user, ranges, types.peekType(MEMBER) ?? 0);
      const names = await interner.named({ users: ignored.size > 0 ? records.map((record) => record.sender) : [] });
      for (const record of records) {
        const into = fresh.get(record.room);
        if (into === undefined || (ignored.size > 0 && ignored.has(names.userName(record.sender)))) continue;
        into.state.add({
          nid: record.nid,
          own: record.sender === user,
          flags: record.flags,
          root: rootOf(into.room, record),
          exception: record.kind === null ? undefined : asKind(record.kind),
        });
      }
      for (const { room, state } of fresh.values()) this.#states.set(keyOf(room, user), state);
    } finally {
      for (const { room } of fresh.values()) this.#loading.delete(keyOf(room, user));
    }
  }
}
