import type { LoopYield } from '#src/kernel/event-loop/loop-yield.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { covers, type PositionVector, shardOfName } from '#src/protocol/wire/position.ts';
import type { DeviceKeyCounts, KeyCounts } from '#src/services/e2ee/device-keys/key-counts.ts';
import type { DeviceInboxes } from '#src/services/e2ee/to-device/device-inboxes.ts';
import type { FollowedThreads } from '#src/services/push/threads/followed-threads.ts';
import { pageOfThreads, type ThreadPage } from '#src/services/push/threads/thread-page.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { RoomStub } from '#src/services/room-model/room/room-stub.ts';
import type { ProfileChanges } from '#src/services/user-data/profiles/profile-changes.ts';
import type { AccountDataEntry, UserAccountData } from '#src/services/user-data/account-data/user-account-data.ts';
import type { DeviceListDelta, DeviceListDeltas } from '../device-lists/device-list-deltas.ts';
import type { Waker } from '../engine/section.ts';
import type { SyncUser } from '../engine/sync-user.ts';
import { receiptContent } from '#src/services/push/receipts/receipt-content.ts';
import type { ProfileAnswer, ProfileUpdates } from '../profiles/profile-updates.ts';
import type { ReceiptSource } from '../sections/receipts.ts';
import type { TypingSource } from '../sections/typing.ts';
import type { SentRoom, KnownProfiles } from './connection.ts';
import { CHARACTERS_OF_LOOK } from './room-lists.ts';
import type { ExtensionsConfig, RoomExtensionConfig, SlidingRequest } from './sliding-request.ts';

/** The answers of extensions; JSON texts. */
export interface ExtensionAnswers {
  readonly toDevice?: { readonly nextBatch: string; readonly events: readonly string[] };
  readonly e2ee?: { readonly deviceLists: DeviceListDelta | undefined; readonly counts: KeyCounts };
  readonly accountData?: {
    readonly global: readonly string[];
    readonly rooms: ReadonlyMap<string, readonly string[]>;
  };
  /** Room -> content of `m.receipt`. */
  readonly receipts?: ReadonlyMap<string, string>;
  /** Room -> the users who type there. */
  readonly typing?: ReadonlyMap<string, readonly string[]>;
  readonly threadSubscriptions?: { readonly name: string; readonly page: ThreadPage };
  readonly profiles?: { readonly name: string; readonly users: ProfileAnswer['users'] };
}

/** A room that an answer may hold. */
export interface ExtensionRoom {
  readonly room: RoomStub;
  readonly isJoined: boolean;
  /** It did not fit into this answer: it stays as it was sent, and what there is to tell of it comes with a later one. */
  readonly isDeferred: boolean;
  readonly sent: SentRoom | undefined;
  /** The names of the lists whose windows it is in. */
  readonly lists: readonly string[];
  readonly isSubscribed: boolean;
  /** Members who are new to the client with this answer; undefined for all, where all are wanted. */
  readonly met: readonly string[] | undefined;
  /** Members that the client knows; undefined for all, where all are wanted. */
  readonly seen: ReadonlyMap<string, unknown> | undefined;
}

export interface ExtensionSources {
  readonly inboxes: DeviceInboxes;
  readonly keyCounts: DeviceKeyCounts;
  readonly deltas: DeviceListDeltas;
  readonly receipts: ReceiptSource;
  readonly typing: TypingSource;
  readonly followedThreads: Pick<FollowedThreads, 'begin' | 'peek' | 'load' | 'changed'>;
  readonly profileChanges: Pick<ProfileChanges, 'changed'>;
  readonly profileUpdates: ProfileUpdates;
  readonly rooms: Pick<RoomRegistry, 'visit'>;
}

/** The span of positions of an answer. */
export interface ExtensionSpan {
  /** Undefined: the connection knows nothing yet. */
  readonly since: PositionVector | undefined;
  readonly upTo: PositionVector;
  /** The counts of the device's keys that the client was told, as text. */
  readonly keys: string | undefined;
  readonly profiles: KnownProfiles | undefined;
}

/** The answers of extensions, and what the client knows afterwards. */
export interface ExtensionsRead extends Pick<ExtensionSpan, 'keys' | 'profiles'> {
  readonly answers: ExtensionAnswers;
  readonly isNews: boolean;
}

const TO_DEVICE_TOKEN = /^t([0-9]{1,16})$/;

const ANY = '*';

/** Characters of receipts in an answer after which further rooms bring the reader's own, and so many of others that are the newest. */
export const MOST_OF_RECEIPTS = 4_194_304;
export const FEW_RECEIPTS = 50;

/** Bytes of rooms whose members are looked at in one turn of the event loop; one room in any case. */
const BYTES_AT_ONCE = 4_194_304;

/** The extensions of sliding sync: to_device, e2ee, account_data, receipts, typing, thread_subscriptions, profiles. MSC4186, "Extensions". */
export class SlidingExtensions {
  readonly #sources: ExtensionSources;

  constructor(sources: ExtensionSources) {
    this.#sources = sources;
  }

  /** Wakes for what no section of /sync wakes for. */
  listen(waker: Waker): void {
    this.#sources.followedThreads.changed.subscribe(({ userId }) => waker.user(userId));
    this.#sources.profileChanges.changed.subscribe(({ userId }) => waker.companions(userId));
  }

  /**
   * Carries out what a request says about its client: deletes the to-device messages that it has received, and enables the push rules on threads
   * for a user whose client supports thread subscriptions.
   *
   * @throws MatrixError M_INVALID_PARAM for a token that is none
   */
  async acknowledge({ userId, deviceId, extensions }: SlidingRequest): Promise<void> {
    if (extensions.threadSubscriptions !== undefined) await this.#sources.followedThreads.begin(userId);
    const since = extensions.toDevice?.since;
    if (since === undefined) return;
    const match = TO_DEVICE_TOKEN.exec(since);
    if (match === null)
      throw new MatrixError(
        'M_INVALID_PARAM',
        'The since of to_device must be a next_batch that this server gave out.',
      );
    if (this.#sources.inboxes.peek(userId, deviceId) !== false)
      await this.#sources.inboxes.acknowledge(userId, deviceId, Number(match[1]));
  }

  /** The answers, and whether any of them is news. @param loopYield is told how much was looked at and written */
  async read(
    configs: ExtensionsConfig,
    request: Pick<SlidingRequest, 'userId' | 'deviceId'>,
    user: SyncUser,
    data: UserAccountData,
    wanted: readonly ExtensionRoom[],
    span: ExtensionSpan,
    hidden: ReadonlySet<string>,
    loopYield: LoopYield,
  ): Promise<ExtensionsRead> {
    const rooms = wanted.filter(({ isDeferred }) => !isDeferred);
    const { userId, deviceId } = request;
    const answers: { -readonly [Name in keyof ExtensionAnswers]: ExtensionAnswers[Name] } = {};
    let isNews = false;
    let { keys, profiles } = span;
    let delta: Promise<DeviceListDelta> | undefined;
    /** Users whose devices changed, and users who share no room any more. */
    const deltas = (since: PositionVector): Promise<DeviceListDelta> =>
      (delta ??= this.#sources.deltas.between(user, since, span.upTo));
    if (configs.toDevice !== undefined) {
      const end = span.upTo[shardOfName(userId)] ?? 0;
      const { messages, resumeAfter } = await this.#sources.inboxes.oldest(
        userId,
        deviceId,
        end,
        configs.toDevice.limit,
      );
      answers.toDevice = { nextBatch: `t${resumeAfter ?? end}`, events: messages };
      if (messages.length > 0) isNews = true;
    }
    if (configs.e2ee !== undefined) {
      const deviceLists = span.since === undefined ? undefined : await deltas(span.since);
      const { keyCounts } = this.#sources;
      const counts = keyCounts.peek(userId, deviceId) ?? (await keyCounts.of(userId, deviceId));
      answers.e2ee = { deviceLists, counts };
      // A client that runs out of one-time keys must always be informed.
      keys = JSON.stringify([counts.oneTime, counts.unusedFallback]);
      if (keys !== span.keys) isNews = true;
      if (deviceLists !== undefined && deviceLists.changed.length + deviceLists.left.length > 0) isNews = true;
    }
    if (configs.accountData !== undefined) {
      answers.accountData = await accountDataOf(configs.accountData, userId, data, rooms, span, loopYield);
      if (answers.accountData.global.length > 0 || answers.accountData.rooms.size > 0) isNews = true;
    }
    if (configs.receipts !== undefined) {
      const chosenRooms = await chosen(configs.receipts, rooms, loopYield);
      answers.receipts = await this.#receipts(chosenRooms, userId, span, hidden, loopYield);
      if (answers.receipts.size > 0) isNews = true;
    }
    if (configs.typing !== undefined) {
      answers.typing = this.#typing(await chosen(configs.typing, rooms, loopYield), hidden);
      if (answers.typing.size > 0) isNews = true;
    }
    if (configs.threadSubscriptions !== undefined) {
      const { followedThreads } = this.#sources;
      const { name, limit } = configs.threadSubscriptions;
      const shard = shardOfName(userId);
      const page = pageOfThreads(followedThreads.peek(userId) ?? (await followedThreads.load(userId)), {
        after: span.since?.[shard] ?? 0,
        before: (span.upTo[shard] ?? 0) + 1,
        limit,
      });
      if (page.subscribed.size + page.unsubscribed.size > 0) {
        answers.threadSubscriptions = { name, page };
        isNews = true;
      }
    }
    if (configs.profiles !== undefined) {
      const { name, fields } = configs.profiles;
      const { profiles: before, since, upTo } = span;
      // Newly requested fields are sent once, also for members of rooms that come with later responses.
      const known = wanted.filter(({ isDeferred, sent }) => !isDeferred || sent !== undefined);
      const inSight = await chosen(configs.profiles, known, loopYield);
      const { users, due } = await this.#sources.profileUpdates.read({
        user,
        fields: fields === undefined ? undefined : new Set(fields),
        whole: [
          ...(before?.due ?? []),
          ...(await this.#usersIn(inSight, ({ met }) => met, loopYield)),
          ...(isWider(fields, before) ? await this.#usersIn(inSight, ({ seen }) => seen?.keys(), loopYield) : []),
        ],
        since: before === undefined ? undefined : since,
        upTo,
        left: () => (since === undefined ? Promise.resolve({ left: [] }) : deltas(since)),
      });
      profiles = { fields, due };
      if (users.size > 0) {
        answers.profiles = { name, users };
        isNews = true;
      }
    }
    return { answers, isNews, keys, profiles };
  }

  async #receipts(
    rooms: readonly ExtensionRoom[],
    userId: string,
    { upTo }: ExtensionSpan,
    hidden: ReadonlySet<string>,
    loopYield: LoopYield,
  ): Promise<ReadonlyMap<string, string>> {
    const { receipts } = this.#sources;
    const missing = rooms.map(({ room }) => room).filter((room) => receipts.peek(room) === undefined);
    const read = missing.length === 0 ? undefined : await receipts.forRooms(missing);
    const found = new Map<string, string>();
    let characters = 0;
    for (const { room, sent } of rooms) {
      const view = receipts.peek(room) ?? read?.get(room.nid);
      if (view === undefined) continue;
      const after = sent?.vector[room.shard];
      if (after !== undefined && view.latest <= after) continue;
      const news = view.shownTo(userId, after ?? 0, characters < MOST_OF_RECEIPTS ? undefined : FEW_RECEIPTS);
      const shown = news.filter(
        ({ kind, pos, userId: reader }) =>
          covers(upTo, pos) && (kind === 'm.read' || reader === userId) && !hidden.has(reader),
      );
      const content = shown.length === 0 ? '' : receiptContent(shown);
      if (content !== '') found.set(room.roomId, content);
      characters += content.length;
      const turn = loopYield.after(CHARACTERS_OF_LOOK * news.length + content.length);
      if (turn !== undefined) await turn;
    }
    return found;
  }

  /** Users of rooms, as far as they are named; else all users of this server who are in the room. */
  async #usersIn(
    rooms: readonly ExtensionRoom[],
    named: (room: ExtensionRoom) => Iterable<string> | undefined,
    loopYield: LoopYield,
  ): Promise<ReadonlySet<string>> {
    const found = new Set<string>();
    const whole: RoomStub[] = [];
    for (const one of rooms) {
      const some = named(one);
      if (some === undefined) whole.push(one.room);
      else for (const userId of some) found.add(userId);
    }
    let looked = 0;
    const look = ({ members }: Room): void => {
      looked += members.size;
      for (const { userId, local, membership } of members.values())
        if (local && membership === 'join') found.add(userId);
    };
    for (let at = 0; at < whole.length;) {
      const first = at;
      for (let bytes = 0; at < whole.length && bytes < BYTES_AT_ONCE; at += 1) bytes += whole[at]?.weight ?? 0;
      const visiting = this.#sources.rooms.visit(whole.slice(first, at), look);
      if (visiting !== undefined) await visiting;
      await loopYield.after(CHARACTERS_OF_LOOK * looked);
      looked = 0;
    }
    return found;
  }

  #typing(rooms: readonly ExtensionRoom[], hidden: ReadonlySet<string>): ReadonlyMap<string, readonly string[]> {
    const found = new Map<string, readonly string[]>();
    for (const { room, sent } of rooms) {
      const { users, at } = this.#sources.typing.typingIn(room.nid);
      const shown = users.filter((name) => !hidden.has(name));
      // A client that knows of no one is not told that no one types.
      if (sent === undefined ? shown.length > 0 : at > sent.count) found.set(room.roomId, shown);
    }
    return found;
  }
}

/** Whether a client asks for fields of profiles that it was not told of before. */
const isWider = (fields: readonly string[] | undefined, known: KnownProfiles | undefined): boolean =>
  known === undefined ||
  (known.fields !== undefined &&
    (fields === undefined || fields.some((field) => known.fields?.includes(field) === false)));

/** The rooms that an extension is to tell of. @param loopYield is told how much was looked at */
const chosen = async (
  { lists, rooms: named }: RoomExtensionConfig,
  rooms: readonly ExtensionRoom[],
  loopYield: LoopYield,
): Promise<readonly ExtensionRoom[]> => {
  const ofLists = new Set(lists);
  const ofNames = new Set(named);
  const found: ExtensionRoom[] = [];
  for (const one of rooms) {
    const { isJoined, isSubscribed, lists: own, room } = one;
    if (!isJoined) continue;
    const isListed = ofLists.has(ANY) ? own.length > 0 : own.some((name) => ofLists.has(name));
    if (isListed || (isSubscribed && ofNames.has(ANY)) || ofNames.has(room.roomId)) found.push(one);
    const turn = loopYield.after(CHARACTERS_OF_LOOK + own.length);
    if (turn !== undefined) await turn;
  }
  return found;
};

const accountDataOf = async (
  config: RoomExtensionConfig,
  userId: string,
  data: UserAccountData,
  rooms: readonly ExtensionRoom[],
  { since, upTo }: ExtensionSpan,
  loopYield: LoopYield,
): Promise<NonNullable<ExtensionAnswers['accountData']>> => {
  const shard = shardOfName(userId);
  const texts = async (entries: readonly AccountDataEntry[]): Promise<string[]> => {
    const found: string[] = [];
    for (const entry of entries) {
      if (!covers(upTo, entry.pos)) continue;
      const text = `{"type":${JSON.stringify(entry.type)},"content":${entry.json}}`;
      found.push(text);
      const turn = loopYield.after(text.length);
      if (turn !== undefined) await turn;
    }
    return found;
  };
  /** The entries by room; most answers need none of them. */
  let byRoom: ReadonlyMap<number, readonly AccountDataEntry[]> | undefined;
  const after = (roomNid: number, vector: PositionVector | undefined): readonly AccountDataEntry[] => {
    const from = vector?.[shard] ?? 0;
    if (vector !== undefined && from >= data.latest) return [];
    byRoom ??= Map.groupBy(data.entries(), (entry) => entry.roomNid);
    const entries = byRoom.get(roomNid) ?? [];
    return vector === undefined ? entries : entries.filter(({ pos }) => pos > from);
  };
  const found = new Map<string, readonly string[]>();
  for (const { room, sent } of await chosen(config, rooms, loopYield)) {
    const entries = await texts(after(room.nid, since === undefined ? undefined : sent?.vector));
    if (entries.length > 0) found.set(room.roomId, entries);
  }
  return { global: await texts(after(0, since)), rooms: found };
};
