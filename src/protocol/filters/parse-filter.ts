/**
 * Filters from JSON. Strict about what it knows and silent about what it does not, so that filters of newer clients work.
 * All of it throws MatrixError: M_BAD_JSON for a member of the wrong type, M_INVALID_PARAM for a value that cannot be meant.
 */

import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isRoomId, isUserId } from '#src/protocol/identifiers/identifiers.ts';
import type { EventFilter, Filter, RoomEventFilter, RoomFilter } from './filter.ts';

/** Entries of any list: some of them are sent to the database. */
export const MAX_ENTRIES = 1_000;
/** Wildcards in a list of types. Each of them is looked for in each type of event. */
export const MAX_WILDCARDS = 100;
/** Each of them may be looked for in each event. */
export const MAX_FIELDS = 500;

/** The name that MSC4429 gives it until it is accepted. */
const PROFILE_FIELDS = 'org.matrix.msc4429.profile_fields';

type Json = Readonly<Record<string, unknown>>;
type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** What applies where a request names no filter. */
export const NO_FILTER: Filter = parseFilter({});

/** What applies where a request names no room event filter (`/messages`, `/context`). */
export const NO_ROOM_EVENT_FILTER: RoomEventFilter = parseRoomEventFilter({});

/** A filter for `/sync`: the body of `POST /user/{userId}/filter`, or the `filter` parameter. */
export function parseFilter(json: unknown): Filter {
  const filter = objectOf(json, 'the filter');
  const eventFields = strings(filter, 'event_fields', '', MAX_FIELDS);
  const eventFormat = filter['event_format'] ?? 'client';
  if (typeof eventFormat !== 'string') throw wrongType('event_format', 'a string');
  if (eventFormat !== 'client' && eventFormat !== 'federation') {
    throw new MatrixError('M_INVALID_PARAM', '"event_format" of a filter must be "client" or "federation".');
  }
  const profiles = member(filter, PROFILE_FIELDS, '');
  const profileFields = strings(profiles, 'ids', `${PROFILE_FIELDS}.`, MAX_FIELDS) ?? [];
  return {
    ...(profileFields.length === 0 ? {} : { profileFields }),
    ...(eventFields === undefined ? {} : { eventFields }),
    eventFormat,
    presence: parseEventFilter(member(filter, 'presence', ''), 'presence.'),
    accountData: parseEventFilter(member(filter, 'account_data', ''), 'account_data.'),
    room: parseRoomFilter(member(filter, 'room', '')),
  };
}

/** A filter for one list of room events: the `filter` parameter of `/messages` and `/context`. */
export function parseRoomEventFilter(json: unknown, path = ''): RoomEventFilter {
  const filter = objectOf(json, path === '' ? 'the filter' : path.slice(0, -1));
  const result: Mutable<RoomEventFilter> = {
    ...parseEventFilter(filter, path),
    lazyLoadMembers: boolean(filter, 'lazy_load_members', path) ?? false,
    includeRedundantMembers: boolean(filter, 'include_redundant_members', path) ?? false,
    unreadThreadNotifications: boolean(filter, 'unread_thread_notifications', path) ?? false,
  };
  const rooms = roomIds(filter, 'rooms', path);
  if (rooms !== undefined) result.rooms = rooms;
  const notRooms = roomIds(filter, 'not_rooms', path);
  if (notRooms !== undefined) result.notRooms = notRooms;
  const containsUrl = boolean(filter, 'contains_url', path);
  if (containsUrl !== undefined) result.containsUrl = containsUrl;
  const relatedBySenders = userIds(filter, 'related_by_senders', path);
  if (relatedBySenders !== undefined) result.relatedBySenders = relatedBySenders;
  const relatedByRelTypes = strings(filter, 'related_by_rel_types', path);
  if (relatedByRelTypes !== undefined) result.relatedByRelTypes = relatedByRelTypes;
  const relTypes = strings(filter, 'org.matrix.msc3874.rel_types', path);
  if (relTypes !== undefined) result.relTypes = relTypes;
  const notRelTypes = strings(filter, 'org.matrix.msc3874.not_rel_types', path);
  if (notRelTypes !== undefined) result.notRelTypes = notRelTypes;
  return result;
}

function parseRoomFilter(filter: Json): RoomFilter {
  const rooms = roomIds(filter, 'rooms', 'room.');
  const notRooms = roomIds(filter, 'not_rooms', 'room.');
  const part = (name: string): RoomEventFilter => parseRoomEventFilter(member(filter, name, 'room.'), `room.${name}.`);
  return {
    ...(rooms === undefined ? {} : { rooms }),
    ...(notRooms === undefined ? {} : { notRooms }),
    includeLeave: boolean(filter, 'include_leave', 'room.') ?? false,
    ephemeral: part('ephemeral'),
    state: part('state'),
    timeline: part('timeline'),
    accountData: part('account_data'),
  };
}

function parseEventFilter(filter: Json, path: string): EventFilter {
  const result: Mutable<EventFilter> = {};
  const { limit } = filter;
  if (limit !== undefined) {
    if (typeof limit !== 'number' || !Number.isSafeInteger(limit)) throw wrongType(`${path}limit`, 'an integer');
    // Zero is not among the values that the specification names, but clients use it to ask for no events.
    if (limit < 0) throw new MatrixError('M_INVALID_PARAM', `"${path}limit" of a filter must not be negative.`);
    result.limit = limit;
  }
  const types = typePatterns(filter, 'types', path);
  if (types !== undefined) result.types = types;
  const notTypes = typePatterns(filter, 'not_types', path);
  if (notTypes !== undefined) result.notTypes = notTypes;
  const senders = userIds(filter, 'senders', path);
  if (senders !== undefined) result.senders = senders;
  const notSenders = userIds(filter, 'not_senders', path);
  if (notSenders !== undefined) result.notSenders = notSenders;
  return result;
}

function typePatterns(filter: Json, name: string, path: string): readonly string[] | undefined {
  const types = strings(filter, name, path);
  const wildcards = types?.reduce((sum, type) => sum + type.split('*').length - 1, 0) ?? 0;
  if (wildcards > MAX_WILDCARDS)
    throw new MatrixError('M_INVALID_PARAM', `"${path}${name}" of a filter has more than ${MAX_WILDCARDS} wildcards.`);
  return types;
}

function objectOf(value: unknown, name: string): Json {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new MatrixError(
      'M_BAD_JSON',
      `${name === 'the filter' ? 'A filter' : `"${name}" of a filter`} must be an object.`,
    );
  }
  return value as Json;
}

function member(json: Json, name: string, path: string): Json {
  const value = json[name];
  return value === undefined ? {} : objectOf(value, path + name);
}

function boolean(json: Json, name: string, path: string): boolean | undefined {
  const value = json[name];
  if (value === undefined || typeof value === 'boolean') return value;
  throw wrongType(path + name, 'true or false');
}

function strings(json: Json, name: string, path: string, most = MAX_ENTRIES): readonly string[] | undefined {
  const value = json[name];
  if (value === undefined) return undefined;
  if (!Array.isArray(value)) throw wrongType(path + name, 'a list of strings');
  if (value.length > most)
    throw new MatrixError('M_INVALID_PARAM', `"${path}${name}" of a filter has more than ${most} entries.`);
  if (!value.every((entry) => typeof entry === 'string')) throw wrongType(path + name, 'a list of strings');
  return value;
}

function roomIds(json: Json, name: string, path: string): readonly string[] | undefined {
  const ids = strings(json, name, path);
  if (ids?.every(isRoomId) === false) {
    throw new MatrixError(
      'M_INVALID_PARAM',
      `"${path}${name}" of a filter must hold room ids, such as "!abc:example.org".`,
    );
  }
  return ids;
}

function userIds(json: Json, name: string, path: string): readonly string[] | undefined {
  const ids = strings(json, name, path);
  if (ids?.every(isUserId) === false) {
    throw new MatrixError(
      'M_INVALID_PARAM',
      `"${path}${name}" of a filter must hold user ids, such as "@alice:example.org".`,
    );
  }
  return ids;
}

function wrongType(name: string, wanted: string): MatrixError {
  return new MatrixError('M_BAD_JSON', `"${name}" of a filter must be ${wanted}.`);
}
