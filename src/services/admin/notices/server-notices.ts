import { Lazy } from '#src/kernel/caches/lazy.ts';
import { type Language, languageOf } from '#src/kernel/text/language.ts';
import { SerialByKey } from '#src/kernel/concurrency/serial.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isUserId } from '#src/protocol/identifiers/identifiers.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { roomVersion } from '#src/protocol/room-versions/room-versions.ts';
import type { UserService } from '#src/services/accounts/users/user-service.ts';
import type { Actor } from '#src/services/audit/actor.ts';
import type { AuditLog } from '#src/services/audit/audit-log.ts';
import type { Transaction } from '#src/services/events/building/event-draft.ts';
import { transactionKey } from '#src/services/events/building/transaction-ids.ts';
import type { EventService } from '#src/services/events/stream/event-service.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import { noticesSender } from '#src/services/rooms/membership/notice-invites.ts';
import { memberDraft } from '#src/services/rooms/membership/member-draft.ts';
import type { JoinService } from '#src/services/rooms/membership/join-service.ts';
import type { MembershipService } from '#src/services/rooms/membership/membership-service.ts';
import type { InvitePermission } from '#src/services/user-data/account-data/invite-permission.ts';
import type { ProfileService } from '#src/services/user-data/profiles/profile-service.ts';
import type { TagService } from '#src/services/user-data/tags/tag-service.ts';
import { noticeRoomOf, pushLanguageOf, setNoticeRoom } from '#src/storage/admin/server-notices.ts';
import type { Database } from '#src/storage/database.ts';

const TAG = 'm.server_notice';
const NAMES: Readonly<Record<Language, string>> = { en: 'Server Notices', ja: 'サーバーからのお知らせ' };

/** What is sent to a user. */
export interface Notice {
  readonly type: string;
  readonly stateKey?: string | undefined;
  readonly content: JsonObject;
}

export interface ServerNoticesOptions {
  readonly database: Database;
  readonly auditLog: AuditLog;
  readonly users: UserService;
  readonly profiles: ProfileService;
  readonly rooms: RoomRegistry;
  readonly events: EventService;
  readonly joins: JoinService;
  readonly membership: MembershipService;
  readonly tags: TagService;
  readonly invitePermission: InvitePermission;
  readonly serverName: string;
  readonly roomVersion: string;
  /** The language for users whose client has not set one. */
  readonly language: Language;
  /** `server_notices` of the configuration. */
  readonly config: {
    readonly user: string | null;
    readonly displayName: string | null;
    readonly avatarUrl: string | null;
    readonly roomName: string | null;
    readonly roomAvatarUrl: string | null;
    readonly autoJoin: boolean;
  };
}

/**
 * Sends server notices, to each user in a room of their own that has the tag `m.server_notice`. Client-Server API, "Server Notices".
 * The room is created with the first notice and used for all further ones; a user who left it is invited again.
 */
export class ServerNotices {
  readonly #options: ServerNoticesOptions;
  /** Who sends them; undefined where there are none. */
  readonly sender: string | undefined;
  /** Two notices for one user at once go to one room. */
  readonly #turns = new SerialByKey<string>();
  /** The account that sends is there, and looks as it is configured. */
  readonly #ready = new Lazy(() => this.#prepareSender(this.#assertEnabled()));

  constructor(options: ServerNoticesOptions) {
    this.#options = options;
    this.sender = noticesSender(options.config.user, options.serverName);
  }

  /**
   * Sends a notice to a user of this server.
   *
   * @param txnId the same one a second time, by the same administrator on the same device, is the same notice
   * @returns the event's id
   * @throws MatrixError M_UNKNOWN where notices are not configured, M_INVALID_PARAM, M_NOT_FOUND; what sending an event throws
   */
  async send(actor: Actor, userId: string, notice: Notice, txnId?: string): Promise<string> {
    const { auditLog, database, events } = this.#options;
    const { userId: admin, deviceId } = actor;
    const txn =
      txnId === undefined || admin === null
        ? undefined
        : { userId: admin, deviceId, scope: 'send_server_notice', txnId };
    this.#assertEnabled();
    if (txn !== undefined) {
      const earlier = await events.transactions.answered(transactionKey(txn));
      if (earlier !== undefined) return earlier;
    }
    await this.#assertRecipient(userId);
    return this.#turns.run(userId, async () => {
      const room = await this.#roomOf(userId);
      await database.write((tx) =>
        auditLog.record(tx, actor, {
          action: 'server_notice.send',
          target: userId,
          roomId: room.roomId,
          after: { type: notice.type },
        }),
      );
      return this.#deliver(room, userId, notice, txn);
    });
  }

  /** The same as part of another action, which is audited there; at most once for each transaction id. */
  async tell(userId: string, noticeIn: (language: Language) => Notice, scope: string): Promise<string> {
    const txn = { userId: this.#assertEnabled(), deviceId: undefined, scope, txnId: userId };
    const earlier = await this.#options.events.transactions.answered(transactionKey(txn));
    if (earlier !== undefined) return earlier;
    return this.#turns.run(userId, async () =>
      this.#deliver(await this.#roomOf(userId), userId, noticeIn(await this.#languageOf(userId)), txn),
    );
  }

  /** @returns who sends. @throws MatrixError M_UNKNOWN */
  assertEnabled(): void {
    this.#assertEnabled();
  }

  #assertEnabled(): string {
    if (this.sender === undefined)
      throw new MatrixError(
        'M_UNKNOWN',
        'Server notices are not enabled on this server: server_notices.user is not set.',
      );
    return this.sender;
  }

  async #assertRecipient(userId: string): Promise<void> {
    const { users } = this.#options;
    if (!isUserId(userId) || !users.isLocal(userId))
      throw new MatrixError('M_INVALID_PARAM', 'Server notices can only be sent to local users');
    const account = userId === this.sender ? undefined : await users.account(userId);
    if (account === undefined || account.deactivated) throw new MatrixError('M_NOT_FOUND', 'User not found');
  }

  async #deliver(room: Room, userId: string, notice: Notice, txn: Transaction | undefined): Promise<string> {
    const { events } = this.#options;
    const sender = this.#assertEnabled();
    await this.#bringIn(room, sender, userId);
    const { content, stateKey, type } = notice;
    if (stateKey !== undefined) return (await events.send(room, { type, sender, content, stateKey })).eventId;
    const draft = { type, sender, content };
    return txn === undefined ? (await events.send(room, draft)).eventId : events.sendOnce(room, draft, txn);
  }

  /** Invites a user who is not in the room, and joins them where that is configured, or where their invite rules would hide the invite. */
  async #bringIn(room: Room, sender: string, userId: string): Promise<void> {
    const { config, events, invitePermission, joins, membership } = this.#options;
    const before = room.headMembership(userId);
    if (before !== 'join' && before !== 'invite')
      await events.send(room, memberDraft(sender, userId, await membership.inviteContent({ target: userId })));
    if (before === 'join') return;
    const isShown = (await invitePermission.of(userId)).fateOf(sender) === 'shown';
    if (isShown && !config.autoJoin) return;
    const requester = { userId, deviceId: undefined, isGuest: false, isAdmin: false, rateLimited: false };
    await joins.join(requester, { roomIdOrAlias: room.roomId });
  }

  /** The room of a user, which is made when there is none yet. */
  async #roomOf(userId: string): Promise<Room> {
    const { database, rooms, tags } = this.#options;
    const sender = this.#assertEnabled();
    const known = await noticeRoomOf(database, userId);
    const room = known === undefined ? undefined : await rooms.byId(known);
    if (room?.headMembership(sender) === 'join') return room;
    await this.#ready.get();
    const made = await this.#makeRoom(sender, userId);
    await setNoticeRoom(database, userId, made.roomId);
    await tags.set(userId, made.nid, TAG, {});
    return made;
  }

  async #makeRoom(sender: string, userId: string): Promise<Room> {
    const { config, events, profiles } = this.#options;
    const version = roomVersion(this.#options.roomVersion);
    if (version === undefined) throw new Error(`there is no room version ${this.#options.roomVersion}`);
    const { displayname, avatarUrl } = await profiles.known(sender);
    const name = config.roomName ?? NAMES[await this.#languageOf(userId)];
    const avatar = config.roomAvatarUrl;
    const levels = {
      users_default: 0,
      events_default: 50,
      state_default: 50,
      invite: 50,
      kick: 50,
      ban: 50,
      redact: 50,
    };
    const state: readonly (readonly [type: string, content: JsonObject, stateKey?: string])[] = [
      ['m.room.member', withoutUndefined({ membership: 'join', displayname, avatar_url: avatarUrl }), sender],
      // Creators of rooms of version 12 and later are above all levels, and must not be named.
      ['m.room.power_levels', version.auth.privilegedCreators ? levels : { ...levels, users: { [sender]: 100 } }],
      ['m.room.join_rules', { join_rule: 'invite' }],
      ['m.room.history_visibility', { history_visibility: 'shared' }],
      ['m.room.guest_access', { guest_access: 'forbidden' }],
      ['m.room.name', { name }],
      ...(avatar === null ? [] : [['m.room.avatar', { url: avatar }] as const]),
    ];
    return events.createRoom({
      version,
      creator: sender,
      createContent: { room_version: version.id, 'm.federate': false },
      isPublic: false,
      events: () => state.map(([type, content, stateKey = '']) => ({ type, content, stateKey, sender })),
    });
  }

  /** Makes the account that sends, with its name and picture. */
  async #prepareSender(sender: string): Promise<void> {
    const { config, database, profiles, users } = this.#options;
    if (!(await users.exists(sender))) {
      const localpart = config.user ?? '';
      await database.write((tx) => users.create(tx, { userId: sender, localpart, passwordHash: null }));
    }
    const requester = { userId: sender, deviceId: undefined, isGuest: false, isAdmin: false, rateLimited: false };
    const displayname = config.displayName ?? NAMES[this.#options.language];
    const known = await profiles.known(sender);
    if (known.displayname !== displayname) await profiles.set(requester, sender, 'displayname', { displayname });
    const avatar = config.avatarUrl;
    if (avatar !== null && known.avatarUrl !== avatar)
      await profiles.set(requester, sender, 'avatar_url', { avatar_url: avatar });
  }

  async #languageOf(userId: string): Promise<Language> {
    return languageOf(await pushLanguageOf(this.#options.database, userId)) ?? this.#options.language;
  }

  /** Creates the account that sends before a user can register its name. */
  async start(): Promise<void> {
    if (this.sender !== undefined) await this.#ready.get();
  }
}

const withoutUndefined = (content: Readonly<Record<string, string | undefined>>): JsonObject =>
  Object.fromEntries(Object.entries(content).filter((entry): entry is [string, string] => entry[1] !== undefined));
