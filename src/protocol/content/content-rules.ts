import { isServerAllowed, parseServerAcl } from '#src/protocol/acl/server-acl.ts';
import { NAMED_LEVELS } from '#src/protocol/auth/power-levels.ts';
import { fitsBytes } from '#src/protocol/identifiers/byte-length.ts';
import { isRoomId, isUserId } from '#src/protocol/identifiers/identifiers.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '#src/protocol/json/json-value.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import { successorIn } from './tombstone.ts';

/** What a client wants to send. */
export interface ClientEvent {
  readonly type: string;
  /** Undefined for message events. */
  readonly stateKey: string | undefined;
  readonly content: JsonObject;
}

/** Where it is to go. */
export interface ContentPlace {
  /** This server. */
  readonly serverName: string;
  /** Undefined where the room does not exist yet. */
  readonly roomId?: string | undefined;
  /** Undefined where the room is not looked at yet: what depends on the version is not judged then. */
  readonly version?: RoomVersion | undefined;
  /** Who stands above all power levels. Since v12. */
  readonly creators?: ReadonlySet<string> | undefined;
}

interface Kind {
  readonly name: string;
  readonly test: (value: JsonValue) => boolean;
}

const isText = (value: JsonValue): value is string => typeof value === 'string';
const isInteger = (value: JsonValue): value is number => Number.isSafeInteger(value);

const text: Kind = { name: 'a string', test: isText };
const textOrNull: Kind = { name: 'a string', test: (value) => value === null || isText(value) };
const boolean: Kind = { name: 'true or false', test: (value) => typeof value === 'boolean' };
const integer: Kind = { name: 'an integer', test: isInteger };
const lifetime: Kind = { name: 'a number of milliseconds', test: (value) => isInteger(value) && value >= 0 };
const object: Kind = { name: 'an object', test: isJsonObject };
const texts: Kind = { name: 'a list of strings', test: (value) => Array.isArray(value) && value.every(isText) };
const objects: Kind = { name: 'a list of objects', test: (value) => Array.isArray(value) && value.every(isJsonObject) };
const levels: Kind = {
  name: 'an object of integers',
  test: (value) => isJsonObject(value) && Object.values(value).every(isInteger),
};
const levelsOfUsers: Kind = {
  name: 'an object of integers, by user id',
  test: (value) => levels.test(value) && Object.keys(value as JsonObject).every(isUserId),
};
const roomId: Kind = { name: 'the id of a room', test: isRoomId };
const oneOf = (...values: readonly string[]): Kind => ({
  name: `one of ${values.join(', ')}`,
  test: (value) => isText(value) && values.includes(value),
});

interface Shape {
  /** Properties that must not be missing. */
  readonly required?: readonly string[];
  readonly kinds: Readonly<Record<string, Kind>>;
}

/**
 * What the properties of state events may be, where a client, or this server, would come to harm by anything else. What is not
 * here is free, and so are further properties. Client-Server API, event schemas.
 */
const STATE: Readonly<Record<string, Shape>> = {
  'm.room.name': { kinds: { name: text } },
  'm.room.topic': { kinds: { topic: text, 'm.topic': object } },
  'm.room.avatar': { kinds: { url: text, info: object } },
  'm.room.pinned_events': { kinds: { pinned: texts } },
  'm.room.join_rules': {
    required: ['join_rule'],
    // What cannot be read of `allow` lets nobody in.
    kinds: { join_rule: oneOf('public', 'knock', 'invite', 'private', 'restricted', 'knock_restricted') },
  },
  'm.room.history_visibility': {
    kinds: { history_visibility: oneOf('invited', 'joined', 'shared', 'world_readable') },
  },
  'm.room.guest_access': { kinds: { guest_access: oneOf('can_join', 'forbidden') } },
  // "clients MUST NOT" send without it: an algorithm that is none would end all talk in the room for good.
  'm.room.encryption': {
    required: ['algorithm'],
    kinds: { algorithm: text, rotation_period_ms: integer, rotation_period_msgs: integer },
  },
  'm.room.member': {
    required: ['membership'],
    kinds: {
      membership: oneOf('join', 'invite', 'knock', 'leave', 'ban'),
      displayname: textOrNull,
      avatar_url: textOrNull,
      reason: textOrNull,
      is_direct: boolean,
      third_party_invite: object,
    },
  },
  'm.room.power_levels': {
    kinds: {
      ...Object.fromEntries(NAMED_LEVELS.map((name) => [name, integer])),
      events: levels,
      users: levelsOfUsers,
      notifications: levels,
    },
  },
  'm.room.server_acl': { kinds: { allow: texts, deny: texts, allow_ip_literals: boolean } },
  'm.room.third_party_invite': {
    kinds: { display_name: text, key_validity_url: text, public_key: text, public_keys: objects },
  },
  'm.room.tombstone': { kinds: { body: text, replacement_room: roomId } },
  'm.room.policy': { kinds: { via: text, public_keys: object } },
  'm.room.retention': { kinds: { min_lifetime: lifetime, max_lifetime: lifetime } },
  'm.room.image_pack': { kinds: { images: object, pack: object } },
  'm.space.child': { kinds: { via: texts, suggested: boolean } },
  'm.space.parent': { kinds: { via: texts, canonical: boolean } },
  'm.policy.rule.user': { kinds: { entity: text, recommendation: text, reason: text } },
  'm.policy.rule.room': { kinds: { entity: text, recommendation: text, reason: text } },
  'm.policy.rule.server': { kinds: { entity: text, recommendation: text, reason: text } },
};

/** State that means something under the empty state key alone, and nothing under others. */
const KEYED = new Set([
  'm.room.member',
  'm.room.third_party_invite',
  'm.room.image_pack',
  'm.space.child',
  'm.space.parent',
  'm.policy.rule.user',
  'm.policy.rule.room',
  'm.policy.rule.server',
]);

/** "Homeservers SHOULD reject m.room.message events which don't have a msgtype, or which don't have a textual body, with an HTTP status code of 400." */
const MESSAGE: Shape = { required: ['msgtype', 'body'], kinds: { msgtype: text, body: text } };
/** Its schema asks for no body. */
const VERIFICATION_REQUEST: Shape = { required: ['msgtype'], kinds: { msgtype: text, body: text } };
/** Bytes of what an annotation says: an emoji, a short text, the address of a picture. */
export const MAX_ANNOTATION_KEY = 1_024;
const MENTIONS: Shape = { kinds: { user_ids: texts, room: boolean } };

/**
 * What is wrong with the content of an event that a client wants to send, as a sentence; undefined when nothing is. Events of other
 * servers are not asked: for those, and for who may send what, there are the authorization rules.
 */
export const contentFault = (event: ClientEvent, place: ContentPlace): string | undefined => {
  const { content, stateKey, type } = event;
  if (type === 'm.room.create') return 'A room is created once: m.room.create cannot be sent.';
  // As state it would not be carried out here, and by other servers perhaps.
  if (type === 'm.room.redaction' && stateKey !== undefined)
    return 'A redaction is no state: send it as a message event, or ask for /redact.';
  const mentions = content['m.mentions'];
  if (mentions !== undefined) {
    if (!isJsonObject(mentions)) return 'm.mentions must be an object.';
    const fault = shapeFault(MENTIONS, mentions, 'm.mentions.');
    if (fault !== undefined) return fault;
  }
  const relation = content['m.relates_to'];
  if (isJsonObject(relation) && relation['rel_type'] === 'm.annotation') {
    const { key } = relation;
    if (typeof key === 'string' && !fitsBytes(key, MAX_ANNOTATION_KEY))
      return `The key of an annotation has at most ${MAX_ANNOTATION_KEY} bytes.`;
  }
  // As state nobody shows it.
  if (type === 'm.room.message' && stateKey === undefined)
    return shapeFault(content['msgtype'] === 'm.key.verification.request' ? VERIFICATION_REQUEST : MESSAGE, content);
  if (stateKey === undefined || (stateKey !== '' && !KEYED.has(type))) return undefined;
  const keyFault = memberKeyFault(type, stateKey);
  if (keyFault !== undefined) return keyFault;
  const shape = Object.hasOwn(STATE, type) ? STATE[type] : undefined;
  return (shape === undefined ? undefined : shapeFault(shape, content)) ?? harm(type, content, place);
};

/** What is wrong with the state key of a membership; undefined for other events. */
export const memberKeyFault = (type: string, stateKey: string | undefined): string | undefined =>
  type === 'm.room.member' && stateKey !== undefined && !isUserId(stateKey)
    ? 'The state key of m.room.member is the id of the user whose membership it is.'
    : undefined;

const shapeFault = ({ required = [], kinds }: Shape, content: JsonObject, path = ''): string | undefined => {
  for (const name of required) {
    if (content[name] === undefined) return `${path}${name} is missing: it must be ${kinds[name]?.name}.`;
  }
  for (const [name, kind] of Object.entries(kinds)) {
    const value = content[name];
    if (value !== undefined && !kind.test(value)) return `${path}${name} must be ${kind.name}.`;
  }
  return undefined;
};

/** What would shut people, or this server, out for good. */
const harm = (type: string, content: JsonObject, place: ContentPlace): string | undefined => {
  const { roomId: room, serverName, version } = place;
  switch (type) {
    case 'm.room.server_acl':
      return isServerAllowed(parseServerAcl(content), serverName)
        ? undefined
        : `These rules would shut ${serverName} itself out of the room, for good.`;
    case 'm.room.tombstone':
      return room !== undefined && successorIn(content) === room
        ? 'replacement_room must be another room than this one.'
        : undefined;
    case 'm.room.retention':
      return Number(content['max_lifetime'] ?? Infinity) < Number(content['min_lifetime'] ?? 0)
        ? 'max_lifetime must not be less than min_lifetime.'
        : undefined;
    case 'm.room.join_rules':
      return version === undefined ? undefined : joinRuleFault(version, content['join_rule']);
    case 'm.room.power_levels':
      return creatorsFault(place.creators ?? new Set(), content) ?? (version && lockoutFault(version, content));
    default:
      return undefined;
  }
};

/** A rule that the version does not know lets nobody in, the invited included. */
const joinRuleFault = ({ auth, id }: RoomVersion, rule: JsonValue | undefined): string | undefined => {
  const isUnknown =
    (rule === 'knock' && !auth.knocking) ||
    (rule === 'restricted' && !auth.restrictedJoins) ||
    (rule === 'knock_restricted' && !auth.knockRestricted);
  return isUnknown ? `Rooms of version ${id} do not know the join rule ${rule}: nobody could join.` : undefined;
};

/** "Creators never in users": the rules would refuse it as well, but as something forbidden. Since v12. */
const creatorsFault = (creators: ReadonlySet<string>, { users }: JsonObject): string | undefined => {
  const listed = [...creators].find((creator) => isJsonObject(users) && Object.hasOwn(users, creator));
  return listed === undefined
    ? undefined
    : `users must not list ${listed}: as a creator of the room they stand above all levels.`;
};

/**
 * A user who gives their power away lists who has it now (or had it). Levels that list nobody were meant to change something else, and
 * would leave the room to nobody. Since v12 creators stand above them. No levels at all ask for the defaults, which established
 * servers grant.
 */
const lockoutFault = (version: RoomVersion, content: JsonObject): string | undefined => {
  const isMeant = content['users'] !== undefined || Object.keys(content).length === 0;
  if (version.auth.privilegedCreators || isMeant) return undefined;
  const { events, state_default: stateDefault = 50, users_default: usersDefault = 0 } = content;
  const needed = (isJsonObject(events) ? events['m.room.power_levels'] : undefined) ?? stateDefault;
  return Number(usersDefault) >= Number(needed)
    ? undefined
    : 'users is missing: without it nobody could ever change the power levels again.';
};
