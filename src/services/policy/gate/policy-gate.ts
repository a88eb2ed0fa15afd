import type { BuiltPdu } from '#src/protocol/events/build-pdu.ts';
import type { Pdu } from '#src/protocol/events/pdu.ts';
import { domainOf } from '#src/protocol/identifiers/server-name.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { PolicyRefusal } from '#src/services/policy/callbacks/policy-refusal.ts';
import type { SpamChecks } from '#src/services/policy/callbacks/spam-checks.ts';
import type { DirectoryRules } from '#src/services/policy/rules/directory-rules.ts';
import type { ServerList } from '#src/services/policy/rules/server-list.ts';
import type { YoungAccounts, YoungAction } from '#src/services/policy/rules/young-accounts.ts';

/** What rules look at of the account that acts. */
export interface PolicyAccount {
  readonly userId: string;
  readonly createdTs: number;
  readonly admin: boolean;
  readonly appserviceId: string | null;
}

/** Who may invite, create or publish: every user, administrators only, or no user. */
export type AllowedUsers = 'all' | 'admins' | 'none';

/** What the operator has configured. */
export interface PolicyRules {
  readonly invites: {
    readonly by: 'all' | 'admins';
    /** No invites between users of this server and other servers. */
    readonly localOnly: boolean;
    readonly servers: ServerList;
  };
  readonly roomCreation: DirectoryRules;
  readonly aliasCreation: DirectoryRules;
  readonly publication: DirectoryRules;
  /** `room.publication` */
  readonly publicationBy: AllowedUsers;
}

export interface PolicyGateOptions {
  readonly rules: PolicyRules;
  readonly young: YoungAccounts;
  readonly checks: SpamChecks;
  /** The account of a user of this server, from memory where it was asked for before. */
  readonly accountOf: (userId: string) => Promise<PolicyAccount | undefined>;
  readonly serverName: string;
}

export interface InviteQuestion {
  readonly inviter: string;
  readonly invitee: string;
  readonly roomId: string;
  /** Asked only where a rule wants to know it. */
  readonly sharesRoom: () => Promise<boolean>;
}

/** A user as the directory shows them. */
export interface FoundProfile {
  readonly userId: string;
  readonly displayName: string | undefined;
  readonly avatarUrl: string | undefined;
}

/** Where a login or a registration comes from. */
export interface RequestOrigin {
  readonly ip: string;
  readonly userAgent: string | undefined;
}

/**
 * Decides what users may do here beyond what rooms allow them: by the rules of the configuration, and by asking a moderation tool. Everything
 * that does one of these things asks here, whichever way it comes: HTTP, WebSocket, with a new room, delayed, or from another server.
 * Administrators of this server may do everything.
 */
export class PolicyGate {
  readonly #options: PolicyGateOptions;

  constructor(options: PolicyGateOptions) {
    this.#options = options;
  }

  /** @throws PolicyRefusal; MatrixError M_LIMIT_EXCEEDED */
  async mayInvite({ invitee, inviter, roomId, sharesRoom }: InviteQuestion): Promise<void> {
    const { checks, rules, young } = this.#options;
    const account = await this.#held(inviter);
    if (account === undefined) return;
    this.#assertMayInvite();
    if (!this.#isLocal(invitee)) this.#assertServer(domainOf(invitee) ?? '', rules.invites.localOnly);
    if (!isBridged(account)) {
      young.assert(account, 'invite');
      if (young.concerns('invite_strangers') && !(await sharesRoom())) young.assert(account, 'invite_strangers');
    }
    await checks.assert('user_may_invite', { inviter, invitee, room_id: roomId });
  }

  /** The same for people who are known only by an address. */
  async mayInviteByAddress(
    inviter: string,
    { medium, address }: { readonly medium: string; readonly address: string },
    roomId: string,
  ): Promise<void> {
    const { checks, young } = this.#options;
    const account = await this.#held(inviter);
    if (account === undefined) return;
    this.#assertMayInvite();
    if (!isBridged(account)) for (const action of INVITING) young.assert(account, action);
    await checks.assert('user_may_send_3pid_invite', { inviter, medium, address, room_id: roomId });
  }

  /** An invite of a user of this server by one of another server. @throws PolicyRefusal */
  async mayBeInvitedFrom(eventId: string, roomId: string, pdu: Pdu): Promise<void> {
    const { checks, rules } = this.#options;
    this.#assertServer(domainOf(pdu.sender) ?? '', rules.invites.localOnly);
    if (checks.isOn('federated_user_may_invite'))
      await checks.assert('federated_user_may_invite', { event: shownEvent(eventId, roomId, pdu) });
  }

  /** A join of a user of this server. @throws PolicyRefusal; MatrixError M_LIMIT_EXCEEDED */
  async mayJoin(userId: string, roomId: string, isInvited: boolean): Promise<void> {
    const { checks } = this.#options;
    if (!checks.isOn('user_may_join_room') && !this.#isAbout('join')) return;
    const account = await this.#held(userId);
    if (account === undefined) return;
    this.#assertAge(account, 'join');
    await checks.assert('user_may_join_room', { user: userId, room: roomId, is_invited: isInvited });
  }

  /** A join of a user of another server, who asks this one for it. @throws PolicyRefusal */
  mayJoinFrom(userId: string, roomId: string): Promise<void> {
    return this.#options.checks.assert('accept_make_join', { user: userId, room: roomId });
  }

  /** @param config what was asked for, as clients say it @throws PolicyRefusal; MatrixError M_LIMIT_EXCEEDED */
  async mayCreateRoom(userId: string, config: JsonObject = {}): Promise<void> {
    const { checks, rules } = this.#options;
    const account = await this.#held(userId);
    if (account === undefined) return;
    if (!rules.roomCreation.allows(userId, '', []))
      throw new PolicyRefusal('M_FORBIDDEN', 'You are not allowed to make rooms on this server.');
    this.#assertAge(account, 'create_room');
    await checks.assert('user_may_create_room', { user_id: userId, room_config: config });
  }

  /** @throws PolicyRefusal; MatrixError M_LIMIT_EXCEEDED */
  async mayCreateAlias(userId: string, alias: string, roomId: string): Promise<void> {
    const { checks, rules } = this.#options;
    const account = await this.#held(userId);
    if (account === undefined) return;
    if (!rules.aliasCreation.allows(userId, roomId, [alias]))
      throw new PolicyRefusal('M_FORBIDDEN', 'You are not allowed to make this alias on this server.');
    this.#assertAge(account, 'create_alias');
    await checks.assert('user_may_create_room_alias', { user_id: userId, room_alias: alias });
  }

  /** @param aliases that the room has here @throws PolicyRefusal; MatrixError M_LIMIT_EXCEEDED */
  async mayPublish(userId: string, roomId: string, aliases: () => Promise<readonly string[]>): Promise<void> {
    const { checks, rules } = this.#options;
    const { publicationBy } = rules;
    if (publicationBy === 'none') throw new PolicyRefusal('M_FORBIDDEN', 'Rooms are not published on this server.');
    const account = await this.#held(userId);
    if (account === undefined) return;
    if (publicationBy === 'admins' || !rules.publication.allows(userId, roomId, await aliases()))
      throw new PolicyRefusal('M_FORBIDDEN', 'You are not allowed to publish this room on this server.');
    this.#assertAge(account, 'publish_room');
    await checks.assert('user_may_publish_room', { user_id: userId, room_id: roomId });
  }

  /** Whether what users send has to be checked at all. */
  get checksEvents(): boolean {
    return this.#options.checks.isOn('check_event_for_spam') || this.#isAbout('send');
  }

  /** Before anything is done about it. @throws PolicyRefusal; MatrixError M_LIMIT_EXCEEDED */
  async maySend(userId: string): Promise<void> {
    if (!this.#isAbout('send')) return;
    const account = await this.#held(userId);
    if (account !== undefined) this.#assertAge(account, 'send');
  }

  /** What has to be asked about events of users before they are written; undefined where nothing has to. */
  get eventCheck(): ((event: BuiltPdu, roomId: string) => Promise<void>) | undefined {
    const { checks } = this.#options;
    if (!checks.isOn('check_event_for_spam')) return undefined;
    return ({ eventId, pdu }, roomId) =>
      checks.assert('check_event_for_spam', { event: shownEvent(eventId, roomId, pdu) });
  }

  /** @throws PolicyRefusal */
  async mayLogIn(
    userId: string,
    { ip, userAgent }: RequestOrigin,
    device: { readonly deviceId?: string | undefined; readonly displayName?: string | undefined },
  ): Promise<void> {
    const { checks } = this.#options;
    if (!checks.isOn('check_login_for_spam')) return;
    await checks.assert('check_login_for_spam', {
      user_id: userId,
      device_id: device.deviceId ?? null,
      initial_display_name: device.displayName ?? null,
      request_info: [[userAgent ?? null, ip]],
      auth_provider_id: null,
    });
  }

  /** @param addressOf the address that was validated for it, if any @throws PolicyRefusal */
  async mayRegister(
    username: string | undefined,
    { ip, userAgent }: RequestOrigin,
    addressOf?: () => Promise<{ readonly medium: string; readonly address: string } | undefined>,
  ): Promise<void> {
    const { checks } = this.#options;
    if (!checks.isOn('check_registration_for_spam')) return;
    const threepid = await addressOf?.();
    await checks.assert('check_registration_for_spam', {
      email_threepid: threepid === undefined ? null : { medium: threepid.medium, address: threepid.address },
      username: username ?? null,
      request_info: [[userAgent ?? null, ip]],
      auth_provider_id: null,
    });
  }

  /** An upload that begins. @throws PolicyRefusal; MatrixError M_LIMIT_EXCEEDED */
  async mayUpload(userId: string): Promise<void> {
    if (!this.#isAbout('upload')) return;
    const account = await this.#held(userId);
    if (account !== undefined) this.#assertAge(account, 'upload');
  }

  /** A file that has come, by what is known of it: its bytes are not sent along. @throws PolicyRefusal */
  async mayKeepFile(userId: string, file: JsonObject): Promise<void> {
    const { checks } = this.#options;
    if (checks.isOn('check_media_file_for_spam'))
      await checks.assert('check_media_file_for_spam', { user_id: userId, file_info: file });
  }

  /** Of the users that a search in the directory has found, those who are shown to the searcher. */
  async shownTo<User extends FoundProfile>(searcher: string, users: readonly User[]): Promise<readonly User[]> {
    const { checks } = this.#options;
    if (!checks.isOn('check_username_for_spam')) return users;
    const refusals = await Promise.all(
      users.map(({ avatarUrl, displayName, userId }) =>
        checks.ask('check_username_for_spam', {
          user_profile: { user_id: userId, display_name: displayName ?? null, avatar_url: avatarUrl ?? null },
          requester_id: searcher,
        }),
      ),
    );
    return users.filter((_user, at) => refusals[at] === undefined);
  }

  /** The account that rules apply to; undefined for administrators. */
  async #held(userId: string): Promise<PolicyAccount | undefined> {
    const account = await this.#options.accountOf(userId);
    return account === undefined || account.admin ? undefined : account;
  }

  #isAbout(action: YoungAction): boolean {
    return this.#options.young.concerns(action);
  }

  #assertAge(account: PolicyAccount, action: YoungAction): void {
    if (!isBridged(account)) this.#options.young.assert(account, action);
  }

  #assertMayInvite(): void {
    if (this.#options.rules.invites.by === 'admins')
      throw new PolicyRefusal('M_FORBIDDEN', 'Only administrators of this server may invite.');
  }

  #assertServer(server: string, localOnly: boolean): void {
    if (localOnly)
      throw new PolicyRefusal('M_FORBIDDEN', 'This server takes and makes invites among its own users only.');
    if (!this.#options.rules.invites.servers.allows(server))
      throw new PolicyRefusal('M_FORBIDDEN', `There are no invites between this server and ${server}.`);
  }

  #isLocal(userId: string): boolean {
    return domainOf(userId) === this.#options.serverName;
  }
}

const INVITING = ['invite', 'invite_strangers'] as const;

/** Users of application services are as old as their bridge. */
const isBridged = ({ appserviceId }: PolicyAccount): boolean => appserviceId !== null;

/** An event in the format of the Client-Server API, without what only servers need. */
export const shownEvent = (eventId: string, roomId: string, pdu: Pdu): JsonObject => {
  const { content, origin_server_ts: ts, redacts, sender, state_key: stateKey, type } = pdu;
  return {
    event_id: eventId,
    room_id: roomId,
    type,
    sender,
    origin_server_ts: ts,
    content,
    ...(stateKey === undefined ? {} : { state_key: stateKey }),
    ...(redacts === undefined ? {} : { redacts }),
    unsigned: {},
  };
};
