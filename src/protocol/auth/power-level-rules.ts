import type { Pdu } from '#src/protocol/events/pdu.ts';
import { isUserId } from '#src/protocol/identifiers/identifiers.ts';
import { isJsonObject } from '#src/protocol/json/json-value.ts';
import type { JsonObject, JsonValue } from '#src/protocol/json/json-value.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import { NAMED_LEVELS, parseLevel, parseLevelMap } from './power-levels.ts';
import type { PowerLevels } from './power-levels.ts';
import { ALLOW, reject } from './verdict.ts';
import type { AuthVerdict } from './verdict.ts';

/**
 * The rules "If type is m.room.power_levels".
 *
 * @param current the content of the room's present `m.room.power_levels`, or undefined if there is none
 * @param levels the power levels before the event
 */
export function checkPowerLevels(
  version: RoomVersion,
  event: Pdu,
  current: JsonObject | undefined,
  levels: PowerLevels,
): AuthVerdict {
  const fault = contentFault(version, event.content) ?? creatorListed(event.content, levels);
  if (fault !== undefined) return reject(fault);
  // "If there is no previous m.room.power_levels event in the room, allow." Since v1.
  if (current === undefined) return ALLOW;
  const senderLevel = levels.userLevel(event.sender);
  const alteration =
    namedLevelsFault(version, current, event.content, senderLevel) ??
    mapFault(version, 'events', current, event.content, senderLevel) ??
    // "events or notifications properties". Since v6.
    (version.auth.notificationLevels
      ? mapFault(version, 'notifications', current, event.content, senderLevel)
      : undefined) ??
    usersFault(version, current, event.content, event.sender, senderLevel);
  return alteration === undefined ? ALLOW : reject(alteration);
}

/** Null stands for "not there" where the levels need not be integers, as the oldest events have it. */
function isAbsent(version: RoomVersion, value: JsonValue | undefined): boolean {
  return value === undefined || (value === null && !version.auth.integerPowerLevels);
}

function contentFault(version: RoomVersion, content: JsonObject): string | undefined {
  // "If any of the properties users_default, events_default, state_default, ban, redact, kick, or invite in content are present
  // and not an integer, reject." Since v10; before, what cannot be read as a level at all is refused likewise.
  for (const key of NAMED_LEVELS) {
    if (!isAbsent(version, content[key]) && parseLevel(version, content[key]) === undefined)
      return `${key} is not a power level`;
  }
  // "If either of the properties events or notifications in content are present and not an object with values that are
  // integers, reject." Since v10.
  if (!isLevelMap(version, content['events'])) return 'events is not an object of power levels';
  if (version.auth.notificationLevels && !isLevelMap(version, content['notifications']))
    return 'notifications is not an object of power levels';
  // "If the users property in content is not an object with keys that are valid user IDs with values that are integers (or a
  // string that is an integer), reject." Since v1; without strings since v10.
  const { users } = content;
  if (!isLevelMap(version, users)) return 'users is not an object of power levels';
  const stranger = isJsonObject(users) ? Object.keys(users).find((user) => !isUserId(user)) : undefined;
  return stranger === undefined ? undefined : 'users has a key that is not a user id';
}

function isLevelMap(version: RoomVersion, map: JsonValue | undefined): boolean {
  if (isAbsent(version, map)) return true;
  return isJsonObject(map) && Object.values(map).every((value) => parseLevel(version, value) !== undefined);
}

/**
 * "If the users property in content contains the sender of the m.room.create event or any of the additional_creators array,
 * reject." Since v12; there are no privileged creators before.
 */
function creatorListed(content: JsonObject, levels: PowerLevels): string | undefined {
  const { users } = content;
  if (levels.creators.size === 0 || !isJsonObject(users)) return undefined;
  for (const creator of levels.creators) {
    if (Object.hasOwn(users, creator)) return `users lists ${creator}, who as a creator of the room has no power level`;
  }
  return undefined;
}

function namedLevelsFault(
  version: RoomVersion,
  current: JsonObject,
  next: JsonObject,
  senderLevel: number,
): string | undefined {
  // "For the properties users_default, events_default, ... check if they were added, changed or removed." Since v1.
  for (const key of NAMED_LEVELS) {
    const before = parseLevel(version, current[key]);
    const after = parseLevel(version, next[key]);
    if (before === after) continue;
    // "If the current value is higher than the sender's current power level, reject."
    if (before !== undefined && before > senderLevel) return `${key} is above the sender's power level`;
    // "If the new value is higher than the sender's current power level, reject."
    if (after !== undefined && after > senderLevel) return `${key} would be above the sender's power level`;
  }
  return undefined;
}

function mapFault(
  version: RoomVersion,
  property: 'events' | 'notifications',
  current: JsonObject,
  next: JsonObject,
  senderLevel: number,
): string | undefined {
  const before = parseLevelMap(version, current[property]);
  const after = parseLevelMap(version, next[property]);
  // "For each entry being changed in, or removed from, the events or notifications properties: If the current value is greater
  // than the sender's current power level, reject." Since v1.
  for (const [key, level] of before) {
    if (after.get(key) !== level && level > senderLevel) return `${property} has ${key} above the sender's power level`;
  }
  // "For each entry being added to, or changed in, the events or notifications properties: If the new value is greater than the
  // sender's current power level, reject." Since v1.
  for (const [key, level] of after) {
    if (before.get(key) !== level && level > senderLevel)
      return `${property} would have ${key} above the sender's power level`;
  }
  return undefined;
}

function usersFault(
  version: RoomVersion,
  current: JsonObject,
  next: JsonObject,
  sender: string,
  senderLevel: number,
): string | undefined {
  const before = parseLevelMap(version, current['users']);
  const after = parseLevelMap(version, next['users']);
  // "For each entry being changed in, or removed from, the users property, other than the sender's own entry: If the current
  // value is greater than or equal to the sender's current power level, reject." Since v1.
  for (const [user, level] of before) {
    if (user !== sender && after.get(user) !== level && level >= senderLevel)
      return `${user} is not below the sender's power level`;
  }
  // "For each entry being added to, or changed in, the users property: If the new value is greater than the sender's current
  // power level, reject." Since v1.
  for (const [user, level] of after) {
    if (before.get(user) !== level && level > senderLevel) return `${user} would be above the sender's power level`;
  }
  return undefined;
}
