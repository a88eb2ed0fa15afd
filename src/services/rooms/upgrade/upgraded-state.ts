import { privilegedCreatorsOf } from '#src/protocol/auth/create.ts';
import { canonicalJson } from '#src/protocol/json/canonical-json.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '#src/protocol/json/json-value.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import { POWER_LEVELS, TOMBSTONE } from '#src/protocol/events/event-types.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';

/** Members of `m.room.power_levels` that are levels themselves, and those that map names to levels. */
const LEVELS = ['ban', 'events_default', 'invite', 'kick', 'redact', 'state_default', 'users_default'];
const MAPS = ['events', 'users', 'notifications'];

/** Canonical JSON of later versions holds less: what was let into an old room may not fit into a new one. */
export const fits = (version: RoomVersion, content: JsonObject): boolean => {
  if (!version.strictCanonicalJson) return true;
  try {
    canonicalJson(content, 'strict');
    return true;
  } catch {
    return false;
  }
};

const GREATEST = Number.MAX_SAFE_INTEGER;
const within = (level: number): number => Math.min(Math.max(Math.trunc(level), -GREATEST), GREATEST);

/** A level as an integer, which is all that later versions let in; undefined for what is none. */
const integerOf = (value: JsonValue | undefined): number | undefined => {
  const number = typeof value === 'string' && /^\s*[+-]?\d+\s*$/.test(value) ? Number(value) : value;
  return typeof number === 'number' && !Number.isNaN(number) ? within(number) : undefined;
};

const integersOf = (map: JsonValue | undefined): Record<string, number> => {
  const levels: Record<string, number> = {};
  if (!isJsonObject(map)) return levels;
  for (const [name, value] of Object.entries(map)) {
    const level = integerOf(value);
    if (level !== undefined) levels[name] = level;
  }
  return levels;
};

/** How many tombstones are looked back over, in a room that is upgraded again and again. */
const MAX_TOMBSTONES = 50;

/**
 * The power levels of a room as people set them: what an upgrade of it did to them, to lock it, is not meant for a further successor. The
 * lock is told by what it changes, and by coming after a tombstone of the same user.
 */
export const levelsBeforeLock = async (old: Room, loader: Pick<EventLoader, 'one'>): Promise<JsonObject> => {
  const levels = old.stateEvent(POWER_LEVELS);
  if (levels === undefined) return {};
  const before = levels.previous;
  const lock = before === undefined ? undefined : lockOf(old, before);
  if (before === undefined || lock === undefined) return levels.content;
  if (canonicalJson(lock, 'lenient') !== canonicalJson(levels.content, 'lenient')) return levels.content;
  let tombstone = old.stateEvent(TOMBSTONE);
  for (let step = 0; step < MAX_TOMBSTONES && tombstone !== undefined && tombstone.nid > levels.nid; step++)
    tombstone = tombstone.replaces === undefined ? undefined : await loader.one(old, tombstone.replaces);
  const isLock = tombstone !== undefined && tombstone.nid < levels.nid && tombstone.sender === levels.sender;
  return isLock ? before.content : levels.content;
};

/**
 * The power levels of an upgraded room: those of the old one, as the new version writes them.
 *
 * @param before the old room's levels
 * @param creators who makes the new room, and the additional creators
 */
export const upgradedLevels = (
  old: Room,
  version: RoomVersion,
  before: JsonObject,
  creators: readonly string[],
): JsonObject => {
  const content: Record<string, JsonValue> = Object.fromEntries(
    Object.entries(before).filter(([name, value]) => fits(version, { [name]: value })),
  );
  for (const name of LEVELS) {
    const level = integerOf(before[name]);
    if (level === undefined) delete content[name];
    else content[name] = level;
  }
  const users = integersOf(before['users']);
  const events = integersOf(before['events']);
  const oldCreate = old.stateEvent('m.room.create');
  const oldCreators = oldCreate === undefined ? [] : [...privilegedCreatorsOf(old.version, oldCreate.pdu)];
  if (version.auth.privilegedCreators) {
    // "Creators never in users." Since v12.
    for (const creator of creators) delete users[creator];
    // Users who may replace the room stand above those who have a level at all.
    if (oldCreators.length === 0) events[TOMBSTONE] = within(Math.max(150, 1 + Math.max(0, ...Object.values(users))));
  } else if (oldCreators.length > 0) {
    // Creators of the old room stood above all levels; here nobody does, and the highest level has to do.
    const highest = Math.max(100, ...Object.values(users));
    for (const creator of [...oldCreators, creators[0] ?? '']) if (creator !== '') users[creator] = highest;
    for (const [type, level] of Object.entries(events)) if (level > highest) events[type] = highest;
  } else if (Object.keys(before).length === 0) {
    const [creator] = creators;
    if (creator !== undefined) users[creator] = 100;
  }
  content['users'] = users;
  content['events'] = events;
  for (const name of MAPS) {
    if (name === 'notifications' && before[name] !== undefined) content[name] = integersOf(before[name]);
  }
  return content;
};

/** The join rules of an upgraded room; a rule that the version does not know becomes the nearest one that is no more open. */
export const upgradedJoinRules = (version: RoomVersion, before: JsonObject | undefined): JsonObject => {
  const rule = before?.['join_rule'];
  if (before === undefined || typeof rule !== 'string' || !fits(version, before)) return { join_rule: 'invite' };
  const { knocking, restrictedJoins, knockRestricted } = version.auth;
  switch (rule) {
    case 'knock':
      return knocking ? before : { ...before, join_rule: 'invite' };
    case 'restricted':
      return restrictedJoins ? before : { ...before, join_rule: 'invite' };
    case 'knock_restricted':
      if (knockRestricted) return before;
      return { ...before, join_rule: restrictedJoins ? 'restricted' : knocking ? 'knock' : 'invite' };
    default:
      return before;
  }
};

/**
 * The power levels with which an old room is closed: "setting events_default and invite to the greater of 50 and
 * users_default + 1". Undefined when they are so high already.
 */
export const lockedLevels = (old: Room): JsonObject | undefined => lockOf(old, old.stateEvent(POWER_LEVELS));

const lockOf = (old: Room, before: StoredEvent | undefined): JsonObject | undefined => {
  const levels = old.parseLevels(before);
  const needed = within(Math.max(50, levels.usersDefault + 1));
  if (levels.eventsDefault >= needed && levels.invite >= needed) return undefined;
  return {
    ...(before?.content ?? { users: Object.fromEntries(levels.users) }),
    events_default: Math.max(needed, levels.eventsDefault),
    invite: Math.max(needed, levels.invite),
  };
};
