/** Conditions of push rules, turned into predicates (Client-Server API, "Conditions"). */

import { type Glob, globMatches, globMatchesWords, literalGlob, parseGlob } from '#src/protocol/matching/glob.ts';
import { parsePropertyPath, valueAtPath } from '#src/protocol/matching/property-path.ts';
import { type PushContext, type PushSubject, foldCase } from './push-event.ts';
import type { PushCondition } from './push-ruleset.ts';

export type ConditionPredicate = (subject: PushSubject, context: PushContext) => boolean;

/** Level needed for a notification of a kind that the room's power levels do not name (m.room.power_levels, `notifications`). */
const DEFAULT_NOTIFICATION_LEVEL = 50;

const MEMBER_COUNT = /^(==|<=|>=|<|>)?([0-9]+)$/;

/** The predicate of a condition, or undefined if nothing can ever match it: its kind is unknown or its parameters are not valid. */
export function compileCondition(condition: PushCondition): ConditionPredicate | undefined {
  const { kind, key, pattern, value } = condition;
  switch (kind) {
    case 'event_match':
      return typeof key === 'string' && typeof pattern === 'string' ? eventMatch(key, pattern) : undefined;
    case 'event_property_is':
      return typeof key === 'string' && isSimpleValue(value) ? eventPropertyIs(key, value) : undefined;
    case 'event_property_contains':
      return typeof key === 'string' && isSimpleValue(value) ? eventPropertyContains(key, value) : undefined;
    case 'contains_display_name':
      return containsDisplayName;
    case 'room_member_count':
      return typeof condition.is === 'string' ? roomMemberCount(condition.is) : undefined;
    case 'sender_notification_permission':
      return typeof key === 'string' ? senderNotificationPermission(key) : undefined;
    default:
      // "Unrecognised conditions MUST NOT match any events, effectively making the push rule disabled."
      return undefined;
  }
}

/** The condition that a content rule stands for: its pattern in the words of `content.body`. */
export function bodyMatches(pattern: string): ConditionPredicate {
  return eventMatch('content.body', pattern);
}

/** Strings, integers, booleans and null: the values that `event_property_is` and `event_property_contains` can compare. */
export function isSimpleValue(value: unknown): value is string | number | boolean | null {
  return value === null || typeof value === 'string' || typeof value === 'boolean' || Number.isSafeInteger(value);
}

/** Whether `is` of a `room_member_count` condition is well-formed. */
export function isMemberCountTest(is: string): boolean {
  return MEMBER_COUNT.test(is);
}

function eventMatch(key: string, pattern: string): ConditionPredicate {
  const path = parsePropertyPath(key);
  const glob = parseGlob(foldCase(pattern));
  // "As a special case, if `key` is `content.body`, then `pattern` must instead match any substring of the value of the
  // property which starts and ends at a word boundary."
  const matches: (glob: Glob, text: string) => boolean = key === 'content.body' ? globMatchesWords : globMatches;
  return (subject) => {
    const text = valueAtPath(subject.event, path);
    return typeof text === 'string' && matches(glob, subject.folded(text));
  };
}

function eventPropertyIs(key: string, wanted: string | number | boolean | null): ConditionPredicate {
  const path = parsePropertyPath(key);
  return (subject) => valueAtPath(subject.event, path) === wanted;
}

function eventPropertyContains(key: string, wanted: string | number | boolean | null): ConditionPredicate {
  const path = parsePropertyPath(key);
  return (subject) => {
    const values = valueAtPath(subject.event, path);
    return Array.isArray(values) && values.includes(wanted);
  };
}

const containsDisplayName: ConditionPredicate = (subject, { displayName }) => {
  if (displayName === undefined || displayName === '') return false;
  const { body } = subject.event.content;
  return typeof body === 'string' && globMatchesWords(literalGlob(foldCase(displayName)), subject.folded(body));
};

function roomMemberCount(is: string): ConditionPredicate | undefined {
  const parsed = MEMBER_COUNT.exec(is);
  if (parsed === null) return undefined;
  const count = Number(parsed[2]);
  switch (parsed[1]) {
    case '<':
      return (_subject, { memberCount }) => memberCount < count;
    case '<=':
      return (_subject, { memberCount }) => memberCount <= count;
    case '>':
      return (_subject, { memberCount }) => memberCount > count;
    case '>=':
      return (_subject, { memberCount }) => memberCount >= count;
    default:
      return (_subject, { memberCount }) => memberCount === count;
  }
}

function senderNotificationPermission(key: string): ConditionPredicate {
  return (_subject, { senderPowerLevel, notificationPowerLevels }) => {
    const level =
      notificationPowerLevels !== undefined && Object.hasOwn(notificationPowerLevels, key)
        ? notificationPowerLevels[key]
        : undefined;
    return senderPowerLevel >= (level ?? DEFAULT_NOTIFICATION_LEVEL);
  };
}
