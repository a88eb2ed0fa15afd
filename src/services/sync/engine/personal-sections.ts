import { blocksInvites, INVITE_PERMISSION } from '#src/services/user-data/account-data/invite-permission.ts';
import {
  covers,
  shardOfName,
  type EphemeralPosition,
  type PositionVector,
  type SyncPosition,
} from '#src/protocol/wire/position.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import { membershipIn } from '#src/services/room-model/room/membership.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { StateChain } from '#src/services/room-model/state/state-chain.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import { receiptContent } from './receipt-content.ts';
import type { RoomPlan } from './room-plan.ts';
import type { SyncFilter } from './sync-filter.ts';
import type { SyncRequest } from './sync-request.ts';
import type {
  AccountDataEntry,
  AccountDataSource,
  EphemeralSource,
  PresenceSource,
  ReceiptSource,
  RoomReceiptsView,
  TypingSource,
  UnreadSource,
  UserAccountData,
} from './sync-sources.ts';
import type { SyncUser } from './sync-user.ts';

export interface PersonalSource {
  readonly accountData: AccountDataSource;
  readonly receipts: ReceiptSource;
  readonly typing: TypingSource;
  readonly presence: PresenceSource;
  readonly unread: UnreadSource;
  readonly ephemeral: EphemeralSource;
  readonly loader: EventLoader;
  readonly interner: Interner;
}

/** What belongs to one user, opened for one response. */
export interface PersonalAccount {
  readonly user: SyncUser;
  readonly data: UserAccountData;
  readonly receiptsOf: (room: Room) => RoomReceiptsView | undefined;
  ignoredUsers(): ReadonlySet<string>;
  /** Whether the user wants to see no invites. Client-Server API, "Invite permission". */
  blocksInvites(): boolean;
}

const NOBODY: ReadonlySet<string> = new Set();

/** The parts of a response that are not events of rooms: account data, receipts, typing, presence, unread counts. */
export class PersonalSections {
  readonly #source: PersonalSource;

  constructor(source: PersonalSource) {
    this.#source = source;
  }

  ephemeralNow(): EphemeralPosition {
    return { run: this.#source.ephemeral.run, count: this.#source.ephemeral.current };
  }

  /** Reads what is not in memory yet: in one statement for the receipts of all rooms. */
  async open(user: SyncUser, userId: string): Promise<PersonalAccount> {
    const data = await this.#source.accountData.load(userId);
    const { receipts } = this.#source;
    const missing = [...user.joined.values()].filter((room) => receipts.peek(room) === undefined);
    const read = missing.length === 0 ? undefined : await receipts.forRooms(missing);
    return {
      user,
      data,
      receiptsOf: (room) => receipts.peek(room) ?? read?.get(room.nid),
      ignoredUsers: () => ignoredIn(data),
      blocksInvites: () => {
        for (const { roomNid, type, json } of data.entries())
          if (roomNid === 0 && type === INVITE_PERMISSION) return blocksInvites(json);
        return false;
      },
    };
  }

  /** Makes the unread counts of rooms known, all at once. */
  async prepare(userId: string, plans: readonly RoomPlan[]): Promise<void> {
    if (plans.length > 1)
      await this.#source.unread.load(
        userId,
        plans.map((plan) => plan.room),
      );
  }

  /** Rooms in which something other than events and receipts is new for the user. */
  changedRooms({ user, data }: PersonalAccount, position: SyncPosition, request: SyncRequest): ReadonlySet<number> {
    const changed = new Set<number>();
    const { since } = request;
    if (since === undefined) return changed;
    for (const entry of data.changedSince(since.vector[shardOfName(user.userId)] ?? 0)) changed.add(entry.roomNid);
    const seen = this.#seenEphemeral(since.ephemeral);
    if (position.ephemeral.count > seen) {
      for (const nid of user.joined.keys()) if (this.#source.typing.typingIn(nid).at > seen) changed.add(nid);
    }
    return changed;
  }

  /** Everything ephemeral of another run of the process is forgotten: such a reader has seen nothing of this one. */
  #seenEphemeral(position: EphemeralPosition): number {
    return position.run === this.#source.ephemeral.run ? position.count : 0;
  }

  /** Account data, ephemeral events and unread counts of one room, as JSON members. */
  async ofRoom(
    account: PersonalAccount,
    { room, isFull, upTo }: RoomPlan,
    position: SyncPosition,
    since: PositionVector,
    isInitial: boolean,
    request: SyncRequest,
    filter: SyncFilter,
  ): Promise<{ readonly json: string; readonly isEmpty: boolean }> {
    const { userId } = request;
    const ephemeral: string[] = [];
    if (filter.ephemeralRoom(room.roomId)) {
      const receipts = account.receiptsOf(room);
      const news =
        receipts === undefined ? [] : isFull ? receipts.all() : receipts.changedSince(since[room.shard] ?? 0);
      const shown = news.filter(
        (receipt) => covers(position.vector, receipt.pos) && (receipt.kind === 'm.read' || receipt.userId === userId),
      );
      if (shown.length > 0 && accepts(filter.ephemeral, 'm.receipt')) {
        ephemeral.push(`{"type":"m.receipt","content":${receiptContent(shown)}}`);
      }
      const typing = this.#source.typing.typingIn(room.nid);
      const seen = request.since === undefined ? 0 : this.#seenEphemeral(request.since.ephemeral);
      const isNews = isInitial ? typing.users.length > 0 : typing.at > seen && (typing.users.length > 0 || seen > 0);
      if (isNews && accepts(filter.ephemeral, 'm.typing')) {
        ephemeral.push(`{"type":"m.typing","content":{"user_ids":${JSON.stringify(typing.users)}}}`);
      }
    }
    const entries = this.#accountData(account, room.nid, isFull, since, position.vector).filter(
      (entry) => filter.accountDataRoom(room.roomId) && accepts(filter.roomAccountData, entry.type),
    );
    const counts = await this.#source.unread.counts(userId, room, upTo);
    let { notification, highlight } = counts;
    let threads = '';
    if (filter.threadCounts) {
      const entriesOfThreads = [...counts.threads].filter(([, tally]) => tally.notification > 0 || tally.highlight > 0);
      if (entriesOfThreads.length > 0) {
        const object = Object.fromEntries(
          entriesOfThreads.map(([root, tally]) => [root, countsJson(tally.notification, tally.highlight)]),
        );
        threads = `,"unread_thread_notifications":${JSON.stringify(object)}`;
      }
    } else {
      for (const tally of counts.threads.values()) {
        notification += tally.notification;
        highlight += tally.highlight;
      }
    }
    const json =
      `"ephemeral":{"events":[${ephemeral.join(',')}]},"account_data":{"events":[${entries.map(accountDataJson).join(',')}]}` +
      `,"unread_notifications":${JSON.stringify(countsJson(notification, highlight))}${threads}`;
    return { json, isEmpty: ephemeral.length === 0 && entries.length === 0 };
  }

  /** Global account data and presence, as JSON members; empty when there is none. */
  global(
    account: PersonalAccount,
    position: SyncPosition,
    since: PositionVector,
    isInitial: boolean,
    request: SyncRequest,
    filter: SyncFilter,
  ): string {
    const parts: string[] = [];
    const entries = this.#accountData(account, 0, isInitial, since, position.vector).filter((entry) =>
      accepts(filter.accountData, entry.type),
    );
    if (entries.length > 0) parts.push(`"account_data":{"events":[${entries.map(accountDataJson).join(',')}]}`);
    const presence = this.#presence(account.user, since, isInitial, request, filter);
    if (presence.length > 0) parts.push(`"presence":{"events":[${presence.join(',')}]}`);
    return parts.join(',');
  }

  #accountData(
    account: PersonalAccount,
    roomNid: number,
    all: boolean,
    since: PositionVector,
    upTo: PositionVector,
  ): readonly AccountDataEntry[] {
    const shard = shardOfName(account.user.userId);
    const entries = all ? [...account.data.entries()] : account.data.changedSince(since[shard] ?? 0);
    return entries.filter((entry) => entry.roomNid === roomNid && covers(upTo, entry.pos));
  }

  #presence(
    user: SyncUser,
    since: PositionVector,
    isInitial: boolean,
    request: SyncRequest,
    filter: SyncFilter,
  ): string[] {
    const { presence } = this.#source;
    const seen = request.since === undefined ? 0 : this.#seenEphemeral(request.since.ephemeral);
    const subjects = new Set<string>();
    const rooms = [...user.joined.values()];
    for (const userId of presence.changedSince(isInitial ? 0 : seen)) {
      if (userId === user.userId || rooms.some((room) => room.isJoined(userId))) subjects.add(userId);
    }
    // Whoever has just come together in a room learns of each other.
    if (!isInitial) {
      for (const room of rooms) {
        if (covers(since, room.lastPosition)) continue;
        const own = room.member(user.userId);
        const isNewHere = own !== undefined && !covers(since, own.since);
        for (const event of room.ring.between(since[room.shard] ?? 0, Infinity) ?? []) {
          if (event.type !== 'm.room.member' || event.stateKey === undefined) continue;
          const member = room.member(event.stateKey);
          if (member?.membership === 'join' && !covers(since, member.since)) subjects.add(member.userId);
        }
        if (!isNewHere) continue;
        for (const member of room.members.values()) if (member.membership === 'join') subjects.add(member.userId);
      }
    }
    const events: string[] = [];
    for (const userId of subjects) {
      const known = presence.presenceOf(userId);
      if (known === undefined || filter.presence?.({ type: 'm.presence', sender: userId, content: {} }) === false)
        continue;
      events.push(
        `{"type":"m.presence","sender":${JSON.stringify(userId)},"content":${JSON.stringify(known.content)}}`,
      );
    }
    return events;
  }

  /** Whether a state has a user as joined. */
  async wasJoined(room: Room, userId: string, state: StateChain | undefined): Promise<boolean> {
    const skey = this.#source.interner.peekStateKey('m.room.member', userId);
    if (skey === undefined) await this.#source.interner.ensureStateKeys([{ type: 'm.room.member', stateKey: userId }]);
    const nid = state?.get(this.#source.interner.stateKey('m.room.member', userId));
    const event = nid === undefined ? undefined : await this.#source.loader.one(room, nid);
    return event !== undefined && membershipIn(event.content) === 'join';
  }

  /** A user's present member event. */
  async memberEvent(room: Room, userId: string): Promise<StoredEvent | undefined> {
    const member = room.member(userId);
    return member === undefined ? undefined : this.#source.loader.one(room, member.event);
  }
}

const accepts = (predicate: SyncFilter['ephemeral'], type: string): boolean =>
  predicate?.({ type, content: {} }) !== false;

const accountDataJson = (entry: AccountDataEntry): string =>
  `{"type":${JSON.stringify(entry.type)},"content":${entry.json}}`;

const countsJson = (
  notification: number,
  highlight: number,
): { notification_count: number; highlight_count: number } => ({
  notification_count: notification,
  highlight_count: highlight,
});

const ignoredByData = new WeakMap<object, { readonly json: string; readonly users: ReadonlySet<string> }>();

/** Client-Server API, "Ignoring Users": `m.ignored_user_list`. */
const ignoredIn = (data: UserAccountData): ReadonlySet<string> => {
  for (const entry of data.entries()) {
    if (entry.roomNid !== 0 || entry.type !== 'm.ignored_user_list') continue;
    const known = ignoredByData.get(data);
    if (known?.json === entry.json) return known.users;
    const content = JSON.parse(entry.json) as { ignored_users?: unknown };
    const list = content.ignored_users;
    const users = new Set(typeof list === 'object' && list !== null ? Object.keys(list) : []);
    ignoredByData.set(data, { json: entry.json, users });
    return users;
  }
  return NOBODY;
};
