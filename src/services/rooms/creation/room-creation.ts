import { Gate } from '#src/kernel/limits/gate.ts';
import type { ShadowBanned } from '#src/services/accounts/moderation/shadow-bans.ts';
import { privilegedCreatorsOf } from '#src/protocol/auth/create.ts';
import type { PolicyGate } from '#src/services/policy/gate/policy-gate.ts';
import { PolicyRefusal } from '#src/services/policy/callbacks/policy-refusal.ts';
import type { Logger } from '#src/kernel/logger.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isUserId } from '#src/protocol/identifiers/identifiers.ts';
import { isJsonObject, type JsonObject } from '#src/protocol/json/json-value.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import { roomVersion } from '#src/protocol/room-versions/room-versions.ts';
import { ENCRYPTION, MEMBER, TOMBSTONE } from '#src/protocol/events/event-types.ts';
import type { AliasService } from '#src/services/rooms/aliases/alias-service.ts';
import type { EventDraft } from '#src/services/events/building/event-draft.ts';
import type { EventService } from '#src/services/events/stream/event-service.ts';
import { type Actor, type MembershipGate } from '#src/services/rooms/membership/membership-gate.ts';
import type { MembershipService } from '#src/services/rooms/membership/membership-service.ts';
import { memberContent, memberDraft } from '#src/services/rooms/membership/member-draft.ts';
import type { ProfileSource } from '#src/services/rooms/membership/profile-source.ts';
import type { RemoteMembership } from '#src/services/rooms/membership/remote-membership.ts';
import type {
  PreparedThirdPartyInvite,
  ThirdPartyInviteRequest,
  ThirdPartyInvites,
} from '#src/services/rooms/third-party-invites/third-party-invites.ts';
import { DEFAULT_TOMBSTONE_LEVEL, defaultPowerLevels, type Preset, presetEvents } from './room-presets.ts';
import { membershipIn } from '#src/services/room-model/room/membership.ts';
import type { StateGrowth } from '#src/services/rooms/membership/state-growth.ts';
import type { NewTypes } from '#src/services/rooms/sending/new-types.ts';
import { assertContent } from '#src/services/rooms/sending/content-check.ts';
import type { Room } from '#src/services/room-model/room/room.ts';

export interface InitialStateEvent {
  readonly type: string;
  readonly state_key?: string | undefined;
  readonly content: JsonObject;
}

/** What a user asks of a new room. Client-Server API, `POST /createRoom`. */
export interface RoomRequest {
  readonly visibility?: 'public' | 'private' | undefined;
  readonly roomAliasName?: string | undefined;
  readonly name?: string | undefined;
  readonly topic?: string | undefined;
  readonly invite?: readonly string[] | undefined;
  /** Invitees who are known only by an address. */
  readonly thirdPartyInvites?: readonly ThirdPartyInviteRequest[] | undefined;
  readonly roomVersion?: string | undefined;
  readonly creationContent?: JsonObject | undefined;
  readonly initialState?: readonly InitialStateEvent[] | undefined;
  readonly preset?: Preset | undefined;
  readonly isDirect?: boolean | undefined;
  readonly powerLevelContentOverride?: JsonObject | undefined;
}

export interface RoomCreationOptions {
  readonly events: EventService;
  readonly serverName: string;
  readonly membership: MembershipService;
  readonly gate: MembershipGate;
  readonly newTypes: NewTypes;
  readonly growth: StateGrowth;
  readonly aliases: AliasService;
  readonly profiles: ProfileSource;
  readonly logger: Logger;
  readonly remote: Pick<RemoteMembership, 'invite'>;
  /** Shadow-banned users: their invites are dropped. */
  readonly shadowBans: ShadowBanned;
  /** Without it nobody can be invited by address. */
  readonly thirdPartyInvites?: ThirdPartyInvites | undefined;
  /** Version of rooms whose maker names none. */
  readonly defaultVersion: string;
  /** How many users may be invited at once; undefined for any number. */
  readonly maxInvites?: number | undefined;
  readonly policy: PolicyGate;
  /** Which rooms are encrypted if their makers say nothing about it. */
  readonly encrypts: (preset: Preset) => boolean;
}

/** Creates rooms. Client-Server API, `POST /createRoom`. */
export class RoomCreationService {
  readonly #events: EventService;
  readonly #serverName: string;
  readonly #membership: MembershipService;
  readonly #gate: MembershipGate;
  readonly #newTypes: NewTypes;
  readonly #growth: StateGrowth;
  readonly #aliases: AliasService;
  readonly #profiles: ProfileSource;
  readonly #logger: Logger;
  readonly #remote: Pick<RemoteMembership, 'invite'>;
  readonly #shadowBans: ShadowBanned;
  readonly #thirdPartyInvites: ThirdPartyInvites | undefined;
  readonly #defaultVersion: string;
  readonly #maxInvites: number | undefined;
  readonly #policy: PolicyGate;
  readonly #encrypts: (preset: Preset) => boolean;

  constructor(options: RoomCreationOptions) {
    this.#events = options.events;
    this.#serverName = options.serverName;
    this.#membership = options.membership;
    this.#gate = options.gate;
    this.#newTypes = options.newTypes;
    this.#growth = options.growth;
    this.#aliases = options.aliases;
    this.#profiles = options.profiles;
    this.#remote = options.remote;
    this.#shadowBans = options.shadowBans;
    this.#logger = options.logger;
    this.#thirdPartyInvites = options.thirdPartyInvites;
    this.#defaultVersion = options.defaultVersion;
    this.#maxInvites = options.maxInvites;
    this.#policy = options.policy;
    this.#encrypts = options.encrypts;
  }

  /**
   * Creates a room with all its first events in one commit; invites beyond the first hundred follow, and so do those by address, where it
   * is not known whose address it is.
   *
   * @throws MatrixError M_UNSUPPORTED_ROOM_VERSION, M_ROOM_IN_USE, M_INVALID_ROOM_STATE when the wished-for state contradicts
   *   itself, M_BAD_JSON, M_INVALID_PARAM, M_BAD_ALIAS, M_EXCLUSIVE, M_INVITE_BLOCKED, M_UNKNOWN when too many are invited; what `ThirdPartyInvites` throws
   */
  async create(actor: Actor, wish: RoomRequest): Promise<Room> {
    const creator = actor.userId;
    const request = this.#shadowBans.has(creator) ? withoutInvites(wish) : wish;
    const version = roomVersion(request.roomVersion ?? this.#defaultVersion);
    if (version === undefined) {
      throw new MatrixError(
        'M_UNSUPPORTED_ROOM_VERSION',
        `This server does not know the room version ${request.roomVersion}.`,
      );
    }
    const isPublic = request.visibility === 'public';
    const preset = request.preset ?? (isPublic ? 'public_chat' : 'private_chat');
    const named = inviteesOf(creator, request.invite ?? []);
    const state = initialStateOf(request);
    const members = state.filter(({ type }) => type === MEMBER);
    this.#assertFew(named.length + members.filter(({ content }) => membershipIn(content) === 'invite').length);
    const createContent = createContentOf(version, creator, request, preset === 'trusted_private_chat' ? named : []);
    const powerLevels = powerLevelsOf(version, creator, preset, named, request, state);
    const creators = privilegedCreatorsOf(version, { sender: creator, content: createContent });
    const place = { serverName: this.#serverName, version, creators };
    assertContent({ type: 'm.room.power_levels', stateKey: '', content: powerLevels }, place);
    for (const { type, state_key: stateKey = '', content } of state) assertContent({ type, stateKey, content }, place);
    await this.#newTypes.admit(actor, state);
    this.#growth.admitNew(
      actor,
      state.filter(({ type }) => type !== MEMBER),
    );
    const alias =
      request.roomAliasName === undefined ? undefined : await this.#aliases.newAlias(actor, request.roomAliasName);
    for (const { type, state_key: stateKey = '', content } of state)
      if (type === 'm.room.canonical_alias' && stateKey === '') this.#aliases.checkFirstCanonical(content, alias);
    await this.#policy.mayCreateRoom(creator, configOf(request));
    const byAddress = await this.#prepare(actor, request);
    const found = byAddress.flatMap(({ userId }) => userId ?? []);
    const invitees = [...new Set([...named, ...inviteesOf(creator, found)])];
    const remote = new Set(invitees.filter((userId) => !this.#events.isLocal(userId)));
    const isNamed = new Set(named);
    const wanted = await Promise.all(
      invitees.map(async (target) => ({
        target,
        content: await this.#membership.inviteContent({ target, isDirect: request.isDirect }),
        // Who was asked for by address was counted there.
        isCounted: !isNamed.has(target),
      })),
    );
    const isRemoteInvite = (event: InitialStateEvent | undefined): boolean =>
      event?.type === MEMBER &&
      membershipIn(event.content) === 'invite' &&
      !this.#events.isLocal(event.state_key ?? '');
    const given = members.map(({ state_key: target = '', content }) => ({ target, content }));
    const admitted = await this.#gate.admitAll(undefined, actor, [...wanted, ...given]);
    const invites = admitted.slice(0, wanted.length);
    const givenContents = new Map(members.map((event, index) => [event, admitted[wanted.length + index]?.content]));
    const profile = await this.#profiles.profileOf(creator);
    const own = (type: string, content: JsonObject, stateKey = ''): EventDraft => ({
      type,
      sender: creator,
      stateKey,
      content,
    });
    const isGiven = (type: string): boolean =>
      state.some((event) => event.type === type && (event.state_key ?? '') === '');
    const drafts: EventDraft[] = [
      memberDraft(creator, creator, memberContent('join', profile)),
      own('m.room.power_levels', powerLevels),
      ...(alias === undefined ? [] : [own('m.room.canonical_alias', { alias })]),
      ...presetEvents(preset)
        .filter(({ type }) => !isGiven(type))
        .map(({ type, content }) => own(type, content)),
      ...(this.#encrypts(preset) && !isGiven(ENCRYPTION) ? [own(ENCRYPTION, { algorithm: MEGOLM })] : []),
      ...state
        .filter((event) => event.type !== 'm.room.power_levels' && !isRemoteInvite(event))
        .map((event) => own(event.type, givenContents.get(event) ?? event.content, event.state_key)),
      ...(request.name === undefined ? [] : [own('m.room.name', { name: request.name })]),
      ...(request.topic === undefined ? [] : [own('m.room.topic', topicContent(request.topic))]),
    ];
    const abroad = [
      ...invites.filter(({ target }) => remote.has(target)),
      ...admitted.slice(wanted.length).filter((_, index) => isRemoteInvite(members[index])),
    ];
    const local = invites
      .filter(({ target }) => !remote.has(target))
      .map(({ target, content }) => memberDraft(creator, target, content));
    const room = await this.#make({
      version,
      creator,
      createContent,
      isPublic,
      events: () => [...drafts.map((draft) => this.#checked(draft)), ...local.slice(0, INVITES_AT_ONCE)],
      admit: async (roomId) => {
        const invited = admitted.filter(({ content }) => membershipIn(content) === 'invite');
        for (const { target } of invited) await this.#gate.mayInvite(actor, target, roomId);
        for (const { id, userId } of byAddress)
          if (userId === undefined) await this.#policy.mayInviteByAddress(creator, id, roomId);
        if (alias !== undefined) await this.#policy.mayCreateAlias(creator, alias, roomId);
        const aliases = alias === undefined ? [] : [alias];
        if (isPublic) await this.#policy.mayPublish(creator, roomId, async () => aliases);
      },
      ...(alias === undefined ? {} : { alias }),
    });
    // Signing a thousand events in one turn would hold up every other request.
    for (let at = INVITES_AT_ONCE; at < local.length; at += INVITES_AT_ONCE)
      await this.#events.sendAll(room, local.slice(at, at + INVITES_AT_ONCE));
    // A server that does not answer, or refuses, does not prevent the room.
    const abroadAtOnce = new Gate(REMOTE_INVITES_AT_ONCE);
    await Promise.all(
      abroad.map(({ target, content }) => abroadAtOnce.run(() => this.#inviteRemote(room, creator, target, content))),
    );
    for (const one of byAddress) {
      if (one.userId === undefined) await this.#thirdPartyInvites?.carryOut(actor, room, one);
    }
    return room;
  }

  /** What the moderation tool is asked about of a new room: all but how its members come in. */
  #checked(draft: EventDraft): EventDraft {
    const check = draft.type === MEMBER ? undefined : this.#policy.eventCheck;
    return check === undefined ? draft : { ...draft, check };
  }

  #assertFew(invites: number): void {
    if (invites > (this.#maxInvites ?? Infinity))
      throw new MatrixError('M_UNKNOWN', `No more than ${this.#maxInvites} users can be invited at once.`);
  }

  async #inviteRemote(room: Room, creator: string, target: string, content: JsonObject): Promise<void> {
    try {
      await this.#remote.invite(room, creator, target, content);
    } catch (err) {
      if (!(err instanceof MatrixError)) throw err;
      this.#logger.warn('the invite of a remote user to a new room failed', {
        room_id: room.roomId,
        user_id: target,
        err,
      });
    }
  }

  async #prepare(creator: Actor, request: RoomRequest): Promise<readonly PreparedThirdPartyInvite[]> {
    const { thirdPartyInvites = [] } = request;
    if (thirdPartyInvites.length === 0) return [];
    if (this.#thirdPartyInvites === undefined)
      throw new MatrixError('M_SERVER_NOT_TRUSTED', 'Nobody can be invited by address here: invite by user id.');
    return this.#thirdPartyInvites.prepare(creator, thirdPartyInvites);
  }

  async #make(plan: Parameters<EventService['createRoom']>[0]): Promise<Room> {
    try {
      return await this.#events.createRoom(plan);
    } catch (error) {
      // Nobody forbids anything here: what was asked for cannot be, as when the creator may not set the name.
      const isOfRoom = error instanceof MatrixError && error.errcode === 'M_FORBIDDEN';
      if (!isOfRoom || error instanceof PolicyRefusal) throw error;
      throw new MatrixError('M_INVALID_ROOM_STATE', `The room cannot begin like that. ${error.message}`);
    }
  }
}

/** The request as clients say it, without what is nobody's business: who is invited by which address. */
const configOf = (request: RoomRequest): JsonObject =>
  Object.fromEntries(
    Object.entries({
      visibility: request.visibility,
      room_alias_name: request.roomAliasName,
      name: request.name,
      topic: request.topic,
      invite: request.invite === undefined ? undefined : [...request.invite],
      room_version: request.roomVersion,
      creation_content: request.creationContent,
      preset: request.preset,
      is_direct: request.isDirect,
    }).filter(([, value]) => value !== undefined),
  ) as JsonObject;

const MEGOLM = 'm.megolm.v1.aes-sha2';
/** Invitations that are committed together. */
/** Servers that are asked at the same time to sign invites of their users. */
export const REMOTE_INVITES_AT_ONCE = 5;
const INVITES_AT_ONCE = 100;

const bad = (message: string): MatrixError => new MatrixError('M_BAD_JSON', message);

const inviteesOf = (creator: string, invite: readonly string[]): string[] => {
  for (const userId of invite) {
    if (!isUserId(userId)) throw new MatrixError('M_INVALID_PARAM', `invite names ${userId}, which is not a user id.`);
    if (userId === creator)
      throw new MatrixError('M_INVALID_PARAM', 'invite names you: the creator of a room is in it already.');
  }
  return [...new Set(invite)];
};

/** `m.topic` says the topic again for clients that know of rich topics. Client-Server API, `m.room.topic`. */
const topicContent = (topic: string): JsonObject => ({ topic, 'm.topic': { 'm.text': [{ body: topic }] } });

const createContentOf = (
  version: RoomVersion,
  creator: string,
  request: RoomRequest,
  trusted: readonly string[],
): JsonObject => {
  // Members that only the server sets are not taken from the request, not even in versions without a "creator".
  const { room_version: _version, creator: _creator, ...content } = request.creationContent ?? {};
  const { type, additional_creators: additional } = content;
  if (type !== undefined && (typeof type !== 'string' || type.includes('\0')))
    throw bad('creation_content.type must be a string without NUL characters.');
  if (content['m.federate'] !== undefined && typeof content['m.federate'] !== 'boolean') {
    throw bad('creation_content.m.federate must be true or false.');
  }
  const { implicitCreator, privilegedCreators } = version.auth;
  if (privilegedCreators) {
    if (additional !== undefined && !(Array.isArray(additional) && additional.every(isUserId))) {
      throw bad('creation_content.additional_creators must be a list of user ids.');
    }
    const creators = [...new Set([...((additional ?? []) as readonly string[]), ...trusted])].filter(
      (userId) => userId !== creator,
    );
    if (creators.length > 0) return { ...content, additional_creators: creators, room_version: version.id };
  }
  return { ...content, ...(implicitCreator ? {} : { creator }), room_version: version.id };
};

/** A shadow-banned user's new room has no invites. */
const withoutInvites = (request: RoomRequest): RoomRequest => ({
  ...request,
  invite: undefined,
  thirdPartyInvites: undefined,
  initialState: request.initialState?.filter(({ type }) => type !== MEMBER),
});

const initialStateOf = (request: RoomRequest): InitialStateEvent[] => {
  const state = request.initialState ?? [];
  if (state.some(({ type }) => type === 'm.room.create'))
    throw bad('initial_state cannot hold m.room.create: use creation_content.');
  // "name" and "topic" take precedence: what they replace at once need not be written.
  return state.filter(
    ({ type, state_key: stateKey = '' }) =>
      stateKey !== '' ||
      !(
        (type === 'm.room.name' && request.name !== undefined) ||
        (type === 'm.room.topic' && request.topic !== undefined)
      ),
  );
};

const powerLevelsOf = (
  version: RoomVersion,
  creator: string,
  preset: Preset,
  invitees: readonly string[],
  request: RoomRequest,
  state: readonly InitialStateEvent[],
): JsonObject => {
  const given = state.findLast(
    ({ type, state_key: stateKey }) => type === 'm.room.power_levels' && (stateKey ?? '') === '',
  )?.content;
  const operators = preset === 'trusted_private_chat' ? invitees : [];
  const content = {
    ...(given ?? defaultPowerLevels(version, creator, preset, operators)),
    ...request.powerLevelContentOverride,
  };
  return version.auth.privilegedCreators ? withTombstoneLevel(content) : content;
};

/** "the power level for sending m.room.tombstone events MUST explicitly be higher than state_default": what is asked for may say no level. */
const withTombstoneLevel = (content: JsonObject): JsonObject => {
  const { events = {}, state_default: stateDefault = 50 } = content;
  const asked = typeof stateDefault === 'number' ? stateDefault : 50;
  if (!isJsonObject(events) || asked >= Number.MAX_SAFE_INTEGER) return content;
  const level = events[TOMBSTONE];
  // 150 is what stands there by default, and not what the request asked for.
  if (level !== undefined && level !== DEFAULT_TOMBSTONE_LEVEL) return content;
  return { ...content, events: { ...events, [TOMBSTONE]: Math.max(DEFAULT_TOMBSTONE_LEVEL, asked + 1) } };
};
