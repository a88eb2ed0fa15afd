import type { Pdu } from '#src/protocol/events/pdu.ts';
import { isJsonObject } from '#src/protocol/json/json-value.ts';
import type { JsonObject, JsonValue } from '#src/protocol/json/json-value.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import { creatorOf, privilegedCreatorsOf } from './create.ts';

/** The properties of `m.room.power_levels` that hold one level each. */
export const NAMED_LEVELS = [
  'users_default',
  'events_default',
  'state_default',
  'ban',
  'redact',
  'kick',
  'invite',
] as const;
export type NamedLevel = (typeof NAMED_LEVELS)[number];

// "a single base 10 integer ... optionally with any number of leading zeroes; optionally prefixed with a single - or +
// character; optionally with any number of leading or trailing whitespace characters"
const STRINGY_LEVEL = /^\s*[+-]?[0-9]+\s*$/;

/**
 * Reads one power level. Integers always; until v9 strings of an integer too; until v5 floats, truncated.
 * Undefined for what is not a power level in this room version.
 */
export function parseLevel(version: RoomVersion, value: JsonValue | undefined): number | undefined {
  if (typeof value === 'number') {
    if (Number.isInteger(value)) return value;
    // "the value is truncated at the decimal point"; what is no finite double is refused. v1 to v5.
    return version.auth.floatPowerLevels && Number.isFinite(value) ? Math.trunc(value) : undefined;
  }
  if (typeof value !== 'string' || version.auth.integerPowerLevels || !STRINGY_LEVEL.test(value)) return undefined;
  const level = Number(value);
  return Number.isFinite(level) ? level : undefined;
}

/** The levels of one map of `m.room.power_levels` (`users`, `events`, `notifications`); entries that are none are left out. */
export function parseLevelMap(version: RoomVersion, map: JsonValue | undefined): ReadonlyMap<string, number> {
  const levels = new Map<string, number>();
  if (!isJsonObject(map)) return levels;
  for (const [key, value] of Object.entries(map)) {
    const level = parseLevel(version, value);
    if (level !== undefined) levels.set(key, level);
  }
  return levels;
}

/**
 * Who may do what in a room, computed once from `m.room.power_levels` and `m.room.create` and then asked.
 * Client-Server API, `m.room.power_levels`; Server-Server API, "Definitions".
 */
export class PowerLevels {
  readonly usersDefault: number;
  readonly eventsDefault: number;
  readonly stateDefault: number;
  readonly ban: number;
  readonly redact: number;
  readonly kick: number;
  readonly invite: number;
  readonly users: ReadonlyMap<string, number>;
  readonly events: ReadonlyMap<string, number>;
  readonly notifications: ReadonlyMap<string, number>;
  /** Users whose level is infinite. Empty before v12. */
  readonly creators: ReadonlySet<string>;

  constructor(version: RoomVersion, content: JsonObject | undefined, create: Pdu) {
    const named = (key: NamedLevel, fallback: number): number =>
      parseLevel(version, content === undefined ? undefined : content[key]) ?? fallback;
    this.usersDefault = named('users_default', 0);
    this.eventsDefault = named('events_default', 0);
    this.stateDefault = named('state_default', 50);
    // "The invite level defaults to 0 if unspecified. The kick level, ban level and redact level each default to 50."
    this.ban = named('ban', 50);
    this.redact = named('redact', 50);
    this.kick = named('kick', 50);
    this.invite = named('invite', 0);
    this.events = parseLevelMap(version, content?.['events']);
    this.notifications = parseLevelMap(version, content?.['notifications']);
    this.creators = privilegedCreatorsOf(version, create);
    if (content === undefined) {
      // "If the room contains no m.room.power_levels event, the room's creator has a power level of 100". v1 to v11.
      const creator = version.auth.privilegedCreators ? undefined : creatorOf(version, create);
      this.users = new Map(creator === undefined ? [] : [[creator, 100]]);
    } else {
      this.users = parseLevelMap(version, content['users']);
    }
  }

  /** The power level of a user; Infinity for creators since v12. */
  userLevel(userId: string): number {
    // "The power level of room creators is infinitely high." Since v12.
    if (this.creators.has(userId)) return Infinity;
    return this.users.get(userId) ?? this.usersDefault;
  }

  /** The level required to send events of a type: "listed explicitly in the events section or given by either state_default or events_default". */
  eventLevel(type: string, isState: boolean): number {
    return this.events.get(type) ?? (isState ? this.stateDefault : this.eventsDefault);
  }

  /** Whether a user has the level to send events of a type. Membership is not looked at. */
  maySend(userId: string, type: string, isState: boolean): boolean {
    return this.userLevel(userId) >= this.eventLevel(type, isState);
  }
}

/**
 * The power levels of a room.
 *
 * @param content the content of `m.room.power_levels`, or undefined if the room has none
 * @param create the room's `m.room.create`
 */
export function parsePowerLevels(version: RoomVersion, content: JsonObject | undefined, create: Pdu): PowerLevels {
  return new PowerLevels(version, content, create);
}
