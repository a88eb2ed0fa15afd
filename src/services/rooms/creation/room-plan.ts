import { privilegedCreatorsOf } from '#src/protocol/auth/create.ts';
import { badJson, MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { CANONICAL_ALIAS, ENCRYPTION, MEMBER, POWER_LEVELS, TOMBSTONE } from '#src/protocol/events/event-types.ts';
import { isUserId } from '#src/protocol/identifiers/identifiers.ts';
import { isJsonObject, type JsonObject } from '#src/protocol/json/json-value.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import { roomVersion } from '#src/protocol/room-versions/room-versions.ts';
import type { EventDraft } from '#src/services/events/building/event-draft.ts';
import { membershipIn } from '#src/services/room-model/room/membership.ts';
import { memberContent, memberDraft } from '#src/services/rooms/membership/member-draft.ts';
import type { MemberProfile } from '#src/services/rooms/membership/profile-source.ts';
import { assertContent } from '#src/services/rooms/sending/content-check.ts';
import type { ThirdPartyInviteRequest } from '#src/services/rooms/third-party-invites/third-party-invites.ts';
import { DEFAULT_TOMBSTONE_LEVEL, defaultPowerLevels, type Preset, presetEvents } from './room-presets.ts';

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

/** What a room begins with, as far as it follows from the request: nothing is looked up, and nobody is asked. */
export interface RoomPlan {
  readonly creator: string;
  readonly request: RoomRequest;
  readonly version: RoomVersion;
  readonly isPublic: boolean;
  readonly preset: Preset;
  /** Users who are invited by their ids. */
  readonly invitees: readonly string[];
  /** `initial_state`, without what the request replaces at once. */
  readonly state: readonly InitialStateEvent[];
  /** Content of `m.room.create`. */
  readonly createContent: JsonObject;
  readonly powerLevels: JsonObject;
}

export interface PlanRules {
  readonly serverName: string;
  /** Version of rooms whose maker names none. */
  readonly defaultVersion: string;
  /** How many users may be invited at once; undefined for any number. */
  readonly maxInvites?: number | undefined;
}

/**
 * Plans a room.
 *
 * @throws MatrixError M_UNSUPPORTED_ROOM_VERSION, M_BAD_JSON, M_INVALID_PARAM; M_UNKNOWN when too many are invited; what content may not be sent
 */
export const planRoom = (
  creator: string,
  request: RoomRequest,
  { defaultVersion, maxInvites, serverName }: PlanRules,
): RoomPlan => {
  const version = roomVersion(request.roomVersion ?? defaultVersion);
  if (version === undefined) {
    throw new MatrixError(
      'M_UNSUPPORTED_ROOM_VERSION',
      `This server does not know the room version ${request.roomVersion}.`,
    );
  }
  const isPublic = request.visibility === 'public';
  const preset = request.preset ?? (isPublic ? 'public_chat' : 'private_chat');
  const invitees = inviteesOf(creator, request.invite ?? []);
  const state = initialStateOf(request);
  const invites = state.filter(({ type, content }) => type === MEMBER && membershipIn(content) === 'invite');
  if (invitees.length + invites.length > (maxInvites ?? Infinity))
    throw new MatrixError('M_UNKNOWN', `No more than ${maxInvites} users can be invited at once.`);
  const createContent = createContentOf(version, creator, request, preset === 'trusted_private_chat' ? invitees : []);
  const powerLevels = powerLevelsOf(version, creator, preset, invitees, request, state);
  const creators = privilegedCreatorsOf(version, { sender: creator, content: createContent });
  const place = { serverName, version, creators };
  assertContent({ type: POWER_LEVELS, stateKey: '', content: powerLevels }, place);
  for (const { type, state_key: stateKey = '', content } of state) assertContent({ type, stateKey, content }, place);
  return { creator, request, version, isPublic, preset, invitees, state, createContent, powerLevels };
};

/** The events after `m.room.create`, in their order, but for the invites of the request. */
export const firstEvents = (
  { creator, powerLevels, preset, request, state: wanted }: RoomPlan,
  known: {
    /** The creator's. */
    readonly profile: MemberProfile;
    readonly alias: string | undefined;
    /** Whether the room is encrypted if the request does not say so. */
    readonly isEncrypted: boolean;
    /** What of `initial_state` may be written. */
    readonly state: readonly InitialStateEvent[];
  },
): EventDraft[] => {
  const own = (type: string, content: JsonObject, stateKey = ''): EventDraft => ({
    type,
    sender: creator,
    stateKey,
    content,
  });
  const isGiven = (type: string): boolean =>
    wanted.some((event) => event.type === type && (event.state_key ?? '') === '');
  const { alias, isEncrypted, profile, state } = known;
  return [
    memberDraft(creator, creator, memberContent('join', profile)),
    own(POWER_LEVELS, powerLevels),
    ...(alias === undefined ? [] : [own(CANONICAL_ALIAS, { alias })]),
    ...presetEvents(preset)
      .filter(({ type }) => !isGiven(type))
      .map(({ type, content }) => own(type, content)),
    ...(isEncrypted && !isGiven(ENCRYPTION) ? [own(ENCRYPTION, { algorithm: MEGOLM })] : []),
    ...state
      .filter(({ type }) => type !== POWER_LEVELS)
      .map(({ type, content, state_key: stateKey }) => own(type, content, stateKey)),
    ...(request.name === undefined ? [] : [own('m.room.name', { name: request.name })]),
    ...(request.topic === undefined ? [] : [own('m.room.topic', topicContent(request.topic))]),
  ];
};

/** The request as clients say it, without what is nobody's business: who is invited by which address. */
export const configOf = (request: RoomRequest): JsonObject =>
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

/** Who is invited, each once. @throws MatrixError M_INVALID_PARAM */
export const inviteesOf = (creator: string, invite: readonly string[]): string[] => {
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
    throw badJson('creation_content.type must be a string without NUL characters.');
  if (content['m.federate'] !== undefined && typeof content['m.federate'] !== 'boolean') {
    throw badJson('creation_content.m.federate must be true or false.');
  }
  const { implicitCreator, privilegedCreators } = version.auth;
  if (privilegedCreators) {
    if (additional !== undefined && !(Array.isArray(additional) && additional.every(isUserId))) {
      throw badJson('creation_content.additional_creators must be a list of user ids.');
    }
    const creators = [...new Set([...((additional ?? []) as readonly string[]), ...trusted])].filter(
      (userId) => userId !== creator,
    );
    if (creators.length > 0) return { ...content, additional_creators: creators, room_version: version.id };
  }
  return { ...content, ...(implicitCreator ? {} : { creator }), room_version: version.id };
};

/** A shadow-banned user's new room has no invites. */
export const withoutInvites = (request: RoomRequest): RoomRequest => ({
  ...request,
  invite: undefined,
  thirdPartyInvites: undefined,
  initialState: request.initialState?.filter(({ type }) => type !== MEMBER),
});

const initialStateOf = (request: RoomRequest): InitialStateEvent[] => {
  const state = request.initialState ?? [];
  if (state.some(({ type }) => type === 'm.room.create'))
    throw badJson('initial_state cannot hold m.room.create: use creation_content.');
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
    ({ type, state_key: stateKey }) => type === POWER_LEVELS && (stateKey ?? '') === '',
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
