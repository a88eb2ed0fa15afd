import type { ReceiptService } from '#src/services/push/receipts/receipt-service.ts';
import type { PushRuleService } from '#src/services/push/rules/push-rule-service.ts';
import type { UserRules } from '#src/services/push/rules/user-rules.ts';
import type { FollowedThreads } from '#src/services/push/threads/followed-threads.ts';
import type { UserThreads } from '#src/services/push/threads/user-threads.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { IgnoredUsers } from '#src/services/user-data/account-data/ignored-users.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import { type NotifyRule, notifyRuleWith } from './unread-list.ts';
import type { RoomUnread, UnreadState } from './unread-state.ts';
import { UnreadStates, type UnreadStatesOptions } from './unread-states.ts';

const NO_UNREAD: RoomUnread = { notification: 0, highlight: 0, threads: new Map() };
/** Most retries when a state became outdated during its read. */
const LOAD_ATTEMPTS = 5;

type RoomIdentity = Pick<Room, 'nid' | 'roomId'>;

/** A user's unread events in a room, and the rules that decide which of them count. */
interface Unread {
  readonly state: UnreadState;
  readonly rules: UserRules;
  readonly threads: UserThreads | undefined;
  readonly room: RoomIdentity;
}

const mainOf = ({ rules, room }: Unread): NotifyRule => notifyRuleWith(rules.modeIn(room.roomId));
const inThread = ({ rules, threads, room }: Unread, root: string): NotifyRule =>
  notifyRuleOf(rules, threads, room, root);

const countOf = (unread: Unread, end: number): RoomUnread =>
  unread.state.count(end, mainOf(unread), (root) => inThread(unread, root));

/** How a user is notified of a thread: events from before the subscription notify them as they did then. */
const notifyRuleOf = (
  rules: UserRules,
  threads: UserThreads | undefined,
  room: RoomIdentity,
  root: string,
): NotifyRule => {
  const decision = threads?.of(room.nid, root);
  const others = rules.threadModeIn(room.roomId, false);
  if (decision?.automatic === undefined) return { mode: others };
  return { mode: rules.threadModeIn(room.roomId, true), since: decision.at, before: others };
};

export interface UnreadCountsOptions extends UnreadStatesOptions {
  readonly pushRules: PushRuleService;
  readonly followedThreads: Pick<FollowedThreads, 'peek' | 'load'>;
  readonly ignoredUsers: IgnoredUsers;
}

/**
 * Unread counts of users. Client-Server API, "Receiving notifications".
 *
 * A message writes nothing here. Counts are computed on request, from the state of the last request and the room's newest events in memory; the
 * database is read only for the first request of a user, and after a long absence.
 */
export class UnreadCounts {
  readonly #interner: Interner;
  readonly #receipts: ReceiptService;
  readonly #pushRules: PushRuleService;
  readonly #followed: Pick<FollowedThreads, 'peek' | 'load'>;
  readonly #ignored: IgnoredUsers;
  readonly #states: UnreadStates;

  constructor(options: UnreadCountsOptions) {
    this.#interner = options.interner;
    this.#receipts = options.receipts;
    this.#pushRules = options.pushRules;
    this.#followed = options.followedThreads;
    this.#ignored = options.ignoredUsers;
    this.#states = new UnreadStates(options);
  }

  /**
   * What a user has not read in a room.
   *
   * @param upTo position of the newest event that counts
   */
  async counts(userId: string, room: Room, upTo: number): Promise<RoomUnread> {
    const end = Math.min(upTo, room.lastPosition);
    const known = await this.#stateOf(userId, room, end);
    return known === undefined ? NO_UNREAD : countOf(known, end);
  }

  /** `counts` from memory; undefined where something has to be read. */
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

  /** A test of whether an event is unread, from memory; undefined where something has to be read, or the user is not in the room. */
  peekUnread(userId: string, room: Room): ((nid: number) => boolean) | undefined {
    const known = this.#peekUpTo(userId, room, room.lastPosition);
    if (known === undefined) return undefined;
    const main = mainOf(known);
    return (nid) => known.state.has(nid, main, (root) => inThread(known, root));
  }

  /**
   * Position up to which no event of a room counts as unread for a user, apart from mentions, as far as that is known without counting: they
   * have read it, or too many events came after it.
   */
  countedFrom(userId: string, room: Room): number {
    return this.#states.countedFrom(userId, this.#interner.peekUser(userId), room, this.#ignored.peek(userId));
  }

  /** A user's unread events up to a position, from memory; undefined where something has to be read. */
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
      await this.#states.settle(userId, user, room, end);
      const known = this.#peek(userId, user, room, end, ignored);
      if (known !== undefined) return known;
      await this.#states.load(userId, user, [room], ignored);
    }
    throw new Error(`what ${userId} has not read in ${room.roomId} changes faster than it can be read`);
  }

  /** What `#stateOf` finds, from memory; undefined where something has to be read. */
  #peek(userId: string, user: number, room: Room, end: number, ignored: ReadonlySet<string>): Unread | undefined {
    if (room.member(userId)?.membership !== 'join') return undefined;
    return this.#known(userId, room, () => this.#states.peek(userId, user, room, end, ignored));
  }

  /** @param peek what is unread, if that is in memory */
  #known(userId: string, room: RoomIdentity, peek: () => UnreadState | undefined): Unread | undefined {
    const rules = this.#pushRules.peek(userId);
    if (this.#receipts.peek(room) === undefined || rules === undefined) return undefined;
    const threads = rules.asksForThreads ? this.#followed.peek(userId) : undefined;
    if (rules.asksForThreads && threads === undefined) return undefined;
    const state = peek();
    return state === undefined ? undefined : { state, rules, threads, room };
  }

  /**
   * What a user has not read in a room that need not be in memory itself; undefined where something has to be read, or new events were not
   * counted yet.
   *
   * @param since position of the user's join
   */
  peekCounted(userId: string, room: RoomIdentity, since: number, upTo: number): RoomUnread | undefined {
    const user = this.#interner.peekUser(userId);
    const ignored = this.#ignored.peek(userId);
    if (user === undefined || ignored === undefined) return undefined;
    const known = this.#known(userId, room, () => this.#states.peekCounted(userId, user, room, since, upTo, ignored));
    return known === undefined ? undefined : countOf(known, upTo);
  }

  /** Whether a room has events after the last one that a user has read, by the receipts in memory. @param since position of their join */
  mayHaveUnread(userId: string, room: Pick<Room, 'nid' | 'lastPosition'>, since: number): boolean {
    const read = this.#receipts.peek(room)?.readPositions(userId).unthreaded ?? 0;
    return room.lastPosition > Math.max(since, read);
  }

  /** Reads what `counts` needs for several rooms at once, in four statements, and one for each of a few rooms in which much is unread. */
  async load(userId: string, rooms: readonly Room[]): Promise<void> {
    const user = await this.#interner.userNid(userId);
    await this.#pushRules.load([userId]);
    const ignored = await this.#ignored.of(userId);
    const cold = rooms.filter((room) => room.isJoined(userId) && !this.#states.has(userId, user, room, ignored));
    if (cold.length === 0) return;
    await this.#receipts.forRooms(cold);
    await this.#states.load(userId, user, cold, ignored);
  }
}
