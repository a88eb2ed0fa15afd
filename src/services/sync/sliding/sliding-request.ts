import { badJson, invalidParam, MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isJsonObject, type JsonObject } from '#src/protocol/json/json-value.ts';

/** Lists of a connection, and rooms that it subscribes to by name. MSC4186 bounds both. */
export const MAX_LISTS = 100;
export const MAX_SUBSCRIPTIONS = 100;
/** Pairs of `required_state` for one list or subscription. */
export const MAX_REQUIRED = 500;
/** The same of all of them together: as many as a hundred usual ones have, and then some. */
export const MAX_REQUIRED_IN_ALL = 5_000;
/** Ranges of one list, and names in one list of a filter. */
export const MAX_RANGES = 100;
export const MAX_NAMES = 1_000;
/** Events of a timeline, whatever is asked for. */
const GREATEST_TIMELINE = 1_000;
const MAX_CONN_ID_LENGTH = 255;
/** "The list keys must follow the grammar of opaque identifiers": of the form that was accepted. */
const LIST_NAME = /^[0-9A-Za-z._~-]{1,255}$/;

/** Which state of a room a client wants: types and state keys, `*` for any. */
export interface RequiredState {
  readonly include: readonly (readonly [type: string, stateKey: string])[];
  readonly exclude: readonly (readonly [type: string, stateKey: string])[];
  /** Of members, those who sent what is in the timeline. */
  readonly lazyMembers: boolean;
}

/** How much of a room a client wants. */
export interface RoomConfig {
  readonly timelineLimit: number;
  readonly requiredState: RequiredState;
}

export interface ListFilters {
  readonly isDm?: boolean;
  readonly isEncrypted?: boolean;
  readonly isInvited?: boolean;
  readonly spaces?: readonly string[];
  readonly roomTypes?: readonly (string | null)[];
  readonly notRoomTypes?: readonly (string | null)[];
  readonly tags?: readonly string[];
  readonly notTags?: readonly string[];
  readonly nameLike?: string;
}

export interface ListConfig extends RoomConfig {
  /** First and last index of each window; undefined for all rooms. */
  readonly ranges: readonly (readonly [first: number, last: number])[] | undefined;
  readonly filters: ListFilters;
}

/** An extension limited to rooms: lists by name, and rooms by id; `*` for all. */
export interface RoomExtensionConfig {
  readonly lists: readonly string[];
  readonly rooms: readonly string[];
}

export interface ExtensionsConfig {
  readonly toDevice?: { readonly since: string | undefined; readonly limit: number };
  readonly e2ee?: true;
  readonly accountData?: RoomExtensionConfig;
  readonly receipts?: RoomExtensionConfig;
  readonly typing?: RoomExtensionConfig;
  readonly profiles?: RoomExtensionConfig & {
    /** The name under which it was asked for, and is answered. */
    readonly name: string;
    /** Names of fields; undefined for all. */
    readonly fields: readonly string[] | undefined;
  };
  readonly threadSubscriptions?: {
    /** The name under which it was asked for, and is answered. */
    readonly name: string;
    /** Decisions at most. */
    readonly limit: number;
  };
}

/** What one request of a connection asks for, in whichever form it came. MSC4186. */
export interface SlidingRequest {
  readonly userId: string;
  readonly deviceId: string;
  /** Tells connections of one device apart. */
  readonly connId: string;
  readonly pos: string | undefined;
  /** Milliseconds to wait for news. */
  readonly timeout: number;
  readonly txnId: string | undefined;
  readonly lists: ReadonlyMap<string, ListConfig>;
  readonly subscriptions: ReadonlyMap<string, RoomConfig>;
  readonly extensions: ExtensionsConfig;
  /** Whether answers name the rooms of each window. */
  readonly namesRooms: boolean;
  /** The body as text: the same one at the same position gets the same answer. */
  readonly digest: string;
  readonly signal: AbortSignal;
}

/** The two forms of the API: what clients use while it is unstable, and what was accepted. */
export type WireForm = 'msc3575' | 'v4';

const objectAt = (from: JsonObject, name: string): JsonObject => {
  const value = from[name];
  if (value === undefined || value === null) return {};
  if (!isJsonObject(value)) throw badJson(`${name} must be an object.`);
  return value;
};

const textsAt = (from: JsonObject, name: string): readonly string[] | undefined => {
  const value = from[name];
  if (value === undefined || value === null) return undefined;
  if (!Array.isArray(value) || !value.every((text) => typeof text === 'string'))
    throw badJson(`${name} must be a list of strings.`);
  if (value.length > MAX_NAMES) throw invalidParam(`${name} can have ${MAX_NAMES} entries at most.`);
  return value;
};

const typesAt = (from: JsonObject, name: string): readonly (string | null)[] | undefined => {
  const value = from[name];
  if (value === undefined || value === null) return undefined;
  if (!Array.isArray(value) || !value.every((type) => type === null || typeof type === 'string'))
    throw badJson(`${name} must be a list of strings and nulls.`);
  if (value.length > MAX_NAMES) throw invalidParam(`${name} can have ${MAX_NAMES} entries at most.`);
  return value as (string | null)[];
};

const flagAt = (from: JsonObject, name: string): boolean | undefined => {
  const value = from[name];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'boolean') throw badJson(`${name} must be true or false.`);
  return value;
};

const pairsIn = (value: unknown, name: string): (readonly [string, string])[] => {
  const isPair = (pair: unknown): pair is [string, string] =>
    Array.isArray(pair) && pair.length === 2 && pair.every((part) => typeof part === 'string');
  if (!Array.isArray(value) || !value.every(isPair)) throw badJson(`${name} must be a list of pairs of strings.`);
  if (value.length > MAX_REQUIRED) throw invalidParam(`${name} can have ${MAX_REQUIRED} entries at most.`);
  return value;
};

const elementsIn = (value: unknown, name: string): (readonly [string, string])[] => {
  if (value === undefined) return [];
  const isText = (part: unknown): boolean => part === undefined || typeof part === 'string';
  if (
    !Array.isArray(value) ||
    !value.every((one) => isJsonObject(one) && isText(one['type']) && isText(one['state_key']))
  )
    throw badJson(`${name} must be a list of objects with type and state_key.`);
  if (value.length > MAX_REQUIRED) throw invalidParam(`${name} can have ${MAX_REQUIRED} entries at most.`);
  return (value as JsonObject[]).map((one) => [(one['type'] as string) ?? '*', (one['state_key'] as string) ?? '*']);
};

const LAZY = '$LAZY';

const requiredStateOf = (value: unknown, form: WireForm): RequiredState => {
  if (value === undefined || value === null) return { include: [], exclude: [], lazyMembers: false };
  if (form === 'v4') {
    if (!isJsonObject(value)) throw badJson('required_state must be an object.');
    return {
      include: elementsIn(value['include'], 'required_state.include'),
      exclude: elementsIn(value['exclude'], 'required_state.exclude'),
      lazyMembers: flagAt(value, 'lazy_members') ?? false,
    };
  }
  const pairs = pairsIn(value, 'required_state');
  const isLazy = ([type, key]: readonly [string, string]): boolean => type === 'm.room.member' && key === LAZY;
  return { include: pairs.filter((pair) => !isLazy(pair)), exclude: [], lazyMembers: pairs.some(isLazy) };
};

const roomConfigOf = (from: JsonObject, form: WireForm): RoomConfig => {
  const limit = from['timeline_limit'] ?? 0;
  if (typeof limit !== 'number' || !Number.isSafeInteger(limit) || limit < 0)
    throw badJson('timeline_limit must be an integer that is not negative.');
  return {
    timelineLimit: Math.min(limit, GREATEST_TIMELINE),
    requiredState: requiredStateOf(from['required_state'], form),
  };
};

const pairsOf = ({ requiredState: { exclude, include } }: RoomConfig): number => include.length + exclude.length;

const isRange = (range: unknown): range is [number, number] =>
  Array.isArray(range) && range.length === 2 && range.every((end) => Number.isSafeInteger(end) && (end as number) >= 0);

const rangesOf = (from: JsonObject, form: WireForm): ListConfig['ranges'] => {
  if (form === 'v4') {
    const { range } = from;
    if (range === undefined || range === null) return undefined;
    if (!isRange(range)) throw badJson('range must be a pair of integers that are not negative.');
    return [range];
  }
  const ranges = from['ranges'] ?? from['slow_get_all_rooms'];
  if (ranges === true) return undefined;
  if (ranges === undefined || ranges === null) return [];
  if (!Array.isArray(ranges) || !ranges.every(isRange)) throw badJson('ranges must be a list of pairs of integers.');
  if (ranges.length > MAX_RANGES) throw invalidParam(`A list can have ${MAX_RANGES} ranges at most.`);
  return ranges;
};

const filtersOf = (from: JsonObject, form: WireForm): ListFilters => {
  const name = from['room_name_like'];
  if (name !== undefined && name !== null && typeof name !== 'string')
    throw badJson('room_name_like must be a string.');
  const entries = {
    isDm: flagAt(from, 'is_dm'),
    isEncrypted: flagAt(from, 'is_encrypted'),
    isInvited: flagAt(from, form === 'v4' ? 'is_invited' : 'is_invite'),
    spaces: textsAt(from, 'spaces'),
    roomTypes: typesAt(from, 'room_types'),
    notRoomTypes: typesAt(from, 'not_room_types'),
    tags: textsAt(from, 'tags'),
    notTags: textsAt(from, 'not_tags'),
    nameLike: name ?? undefined,
  };
  return Object.fromEntries(Object.entries(entries).filter(([, value]) => value !== undefined)) as ListFilters;
};

const ANY: RoomExtensionConfig = { lists: ['*'], rooms: ['*'] };

const roomExtension = (extensions: JsonObject, name: string): RoomExtensionConfig | undefined => {
  const config = objectAt(extensions, name);
  if (flagAt(config, 'enabled') !== true) return undefined;
  return { lists: textsAt(config, 'lists') ?? ANY.lists, rooms: textsAt(config, 'rooms') ?? ANY.rooms };
};

export const MAX_TO_DEVICE = 100;

const toDeviceOf = (extensions: JsonObject): ExtensionsConfig['toDevice'] => {
  const config = objectAt(extensions, 'to_device');
  if (flagAt(config, 'enabled') !== true) return undefined;
  const { since } = config;
  const limit = config['limit'] ?? MAX_TO_DEVICE;
  if (since !== undefined && since !== null && typeof since !== 'string')
    throw badJson('The since of to_device must be a string.');
  if (typeof limit !== 'number' || !Number.isSafeInteger(limit) || limit < 1)
    throw badJson('The limit of to_device must be a positive integer.');
  return { since: since ?? undefined, limit: Math.min(limit, MAX_TO_DEVICE) };
};

export const MAX_THREADS = 100;
/** The names of an extension: while its proposal is open clients use the second. */
const THREAD_SUBSCRIPTIONS = ['thread_subscriptions', 'io.element.msc4308.thread_subscriptions'] as const;

/** The name under which an extension that has several is enabled. */
const enabledName = (extensions: JsonObject, names: readonly string[]): string | undefined =>
  names.find((name) => flagAt(objectAt(extensions, name), 'enabled') === true);

const PROFILES = ['profiles', 'org.matrix.msc4262.profiles'] as const;

const profilesOf = (extensions: JsonObject): ExtensionsConfig['profiles'] => {
  const name = enabledName(extensions, PROFILES);
  const config = name === undefined ? undefined : roomExtension(extensions, name);
  if (name === undefined || config === undefined) return undefined;
  return { ...config, name, fields: textsAt(objectAt(extensions, name), 'fields') };
};

const threadSubscriptionsOf = (extensions: JsonObject): ExtensionsConfig['threadSubscriptions'] => {
  const name = enabledName(extensions, THREAD_SUBSCRIPTIONS);
  if (name === undefined) return undefined;
  const limit = objectAt(extensions, name)['limit'] ?? MAX_THREADS;
  if (typeof limit !== 'number' || !Number.isSafeInteger(limit) || limit < 1)
    throw badJson(`The limit of ${name} must be a positive integer.`);
  return { name, limit: Math.min(limit, MAX_THREADS) };
};

/**
 * What a body asks for.
 *
 * @throws MatrixError M_BAD_JSON, M_INVALID_PARAM when it asks for too much
 */
export const parseSlidingBody = (
  body: JsonObject,
  form: WireForm,
): Pick<SlidingRequest, 'connId' | 'txnId' | 'lists' | 'subscriptions' | 'extensions' | 'namesRooms'> => {
  const connId = body['conn_id'] ?? '';
  if (typeof connId !== 'string' || connId.length > MAX_CONN_ID_LENGTH)
    throw badJson(`conn_id must be a string of ${MAX_CONN_ID_LENGTH} characters at most.`);
  if (connId.includes('\0') || !connId.isWellFormed())
    throw badJson('conn_id holds what is no text: NUL, or half a character.');
  const txnId = body['txn_id'] ?? undefined;
  if (txnId !== undefined && typeof txnId !== 'string') throw badJson('txn_id must be a string.');
  const namedLists = Object.entries(objectAt(body, 'lists'));
  const namedRooms = Object.entries(objectAt(body, 'room_subscriptions'));
  if (namedLists.length > MAX_LISTS) throw invalidParam(`A connection can have ${MAX_LISTS} lists at most.`);
  if (namedRooms.length > MAX_SUBSCRIPTIONS)
    throw invalidParam(`A connection can subscribe to ${MAX_SUBSCRIPTIONS} rooms at most.`);
  const lists = namedLists.map(([name, list]): [string, ListConfig] => {
    if (!isJsonObject(list)) throw badJson('Each list must be an object.');
    if (form === 'v4' && !LIST_NAME.test(name))
      throw new MatrixError('M_INVALID_PARAM', 'The name of a list has 1 to 255 of the characters 0-9 A-Z a-z . _ ~ -');
    const filters = filtersOf(objectAt(list, 'filters'), form);
    return [name, { ...roomConfigOf(list, form), ranges: rangesOf(list, form), filters }];
  });
  const subscriptions = namedRooms.map(([roomId, config]): [string, RoomConfig] => {
    if (!isJsonObject(config)) throw badJson('Each room subscription must be an object.');
    return [roomId, roomConfigOf(config, form)];
  });
  const required = [...lists, ...subscriptions].reduce((sum, [, config]) => sum + pairsOf(config), 0);
  if (required > MAX_REQUIRED_IN_ALL)
    throw invalidParam(
      `The required_state of all lists and subscriptions can have ${MAX_REQUIRED_IN_ALL} entries at most.`,
    );
  const extensions = objectAt(body, 'extensions');
  const configs = {
    toDevice: toDeviceOf(extensions),
    e2ee: flagAt(objectAt(extensions, 'e2ee'), 'enabled') === true ? (true as const) : undefined,
    accountData: roomExtension(extensions, 'account_data'),
    receipts: roomExtension(extensions, 'receipts'),
    typing: roomExtension(extensions, 'typing'),
    threadSubscriptions: threadSubscriptionsOf(extensions),
    profiles: profilesOf(extensions),
  };
  return {
    connId,
    txnId,
    lists: new Map(lists),
    subscriptions: new Map(subscriptions),
    namesRooms: form === 'msc3575',
    extensions: Object.fromEntries(
      Object.entries(configs).filter(([, value]) => value !== undefined),
    ) as ExtensionsConfig,
  };
};
