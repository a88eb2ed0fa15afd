/** Conditions of push rules, turned into predicates (Client-Server API, "Conditions"). */

import {
  type Glob,
  globMatches,
  globMatchesWords,
  isLiteral,
  literalGlob,
  MAX_PATTERN_LENGTH,
  parseGlob,
} from '#src/protocol/matching/glob.ts';
import { parsePropertyPath, valueAtPath } from '#src/protocol/matching/property-path.ts';
import type { StepBudget } from '#src/protocol/matching/step-budget.ts';
import { type PushContext, type PushSubject, foldCase, isOneWord } from './push-event.ts';
import type { PushCondition } from './push-ruleset.ts';

/** Whether a condition holds; what the budget does not allow to look at does not match. */
export type ConditionPredicate = (subject: PushSubject, context: PushContext, budget?: StepBudget) => boolean;

/** UTF-16 code units of a `key`. */
export const MAX_KEY_LENGTH = 1_000;
/** UTF-16 code units of a display name that is looked for. */
const MAX_NAME_LENGTH = 256;

/** Level needed for a notification of a kind that the room's power levels do not name (m.room.power_levels, `notifications`). */
const DEFAULT_NOTIFICATION_LEVEL = 50;

/** Kinds of conditions that ask whether the user follows the event's thread: the name of MSC4306, and the one that clients use today. */
export const THREAD_CONDITIONS: ReadonlySet<string> = new Set([
  'thread_subscription',
  'io.element.msc4306.thread_subscription',
]);

const MEMBER_COUNT = /^(==|<=|>=|<|>)?([0-9]+)$/;

/** The predicate of a condition, or undefined if nothing can ever match it: its kind is unknown or its parameters are not valid. */
export function compileCondition(condition: PushCondition): ConditionPredicate | undefined {
  const { kind, key, pattern, value } = condition;
  switch (kind) {
    case 'event_match':
      return isKey(key) && typeof pattern === 'string' ? eventMatch(key, pattern) : undefined;
    case 'event_property_is':
      return isKey(key) && isSimpleValue(value) ? eventPropertyIs(key, value) : undefined;
    case 'event_property_contains':
      return isKey(key) && isSimpleValue(value) ? eventPropertyContains(key, value) : undefined;
    case 'contains_display_name':
      return containsDisplayName;
    case 'room_member_count':
      return typeof condition.is === 'string' ? roomMemberCount(condition.is) : undefined;
    case 'sender_notification_permission':
      return typeof key === 'string' ? senderNotificationPermission(key) : undefined;
    default:
      if (THREAD_CONDITIONS.has(kind)) return threadSubscription(condition['subscribed']);
      // "Unrecognised conditions MUST NOT match any events, effectively making the push rule disabled."
      return undefined;
  }
}

const isKey = (key: unknown): key is string => typeof key === 'string' && key.length <= MAX_KEY_LENGTH;

/** The condition that a content rule stands for: its pattern in the words of `content.body`. Undefined if it is too long to match. */
export function bodyMatches(pattern: string): ConditionPredicate | undefined {
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

function eventMatch(key: string, pattern: string): ConditionPredicate | undefined {
  if (pattern.length > MAX_PATTERN_LENGTH) return undefined;
  const path = parsePropertyPath(key);
  const glob = parseGlob(foldCase(pattern));
  // "As a special case, if `key` is `content.body`, then `pattern` must instead match any substring of the value of the
  // property which starts and ends at a word boundary."
  const matches = key === 'content.body' ? wordsMatcher(glob) : wholeMatcher(glob);
  return (subject, _context, budget) => {
    budget?.spend(path.length);
    const text = valueAtPath(subject.event, path);
    return typeof text === 'string' && matches(subject, subject.folded(text), budget);
  };
}

type Matcher = (subject: PushSubject, folded: string, budget: StepBudget | undefined) => boolean;

const wholeMatcher =
  (glob: Glob): Matcher =>
  (_subject, text, budget) =>
    globMatches(glob, text, budget);

/** Most patterns are single words, and what words a text has is found out once for all users. */
const wordsMatcher = (glob: Glob): Matcher =>
  isLiteral(glob) && isOneWord(glob.pattern)
    ? (subject, text) => subject.words(text).has(glob.pattern)
    : (_subject, text, budget) => globMatchesWords(glob, text, budget);

function eventPropertyIs(key: string, wanted: string | number | boolean | null): ConditionPredicate {
  const path = parsePropertyPath(key);
  return (subject, _context, budget) => {
    budget?.spend(path.length);
    return valueAtPath(subject.event, path) === wanted;
  };
}

function eventPropertyContains(key: string, wanted: string | number | boolean | null): ConditionPredicate {
  const path = parsePropertyPath(key);
  return (subject, _context, budget) => {
    const values = valueAtPath(subject.event, path);
    budget?.spend(path.length + (Array.isArray(values) ? values.length : 0));
    return Array.isArray(values) && values.includes(wanted);
  };
}

const containsDisplayName: ConditionPredicate = (subject, { displayName }, budget) => {
  const { body } = subject.event.content;
  return typeof body === 'string' && mentionsName(subject, body, displayName, budget);
};

/** Whether a text of the event has a name in it, as a word and without wildcards. */
function mentionsName(
  subject: PushSubject,
  text: string,
  name: string | undefined,
  budget: StepBudget | undefined,
): boolean {
  if (name === undefined || name === '' || name.length > MAX_NAME_LENGTH) return false;
  const folded = foldCase(name);
  if (isOneWord(folded)) return subject.words(subject.folded(text)).has(folded);
  return globMatchesWords(literalGlob(folded), subject.folded(text), budget);
}

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

/** Holds for events in threads that the user follows, or in those that they do not follow; never outside of threads. MSC4306. */
function threadSubscription(subscribed: unknown): ConditionPredicate | undefined {
  if (typeof subscribed !== 'boolean') return undefined;
  return (_subject, { followsThread }) => followsThread === subscribed;
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
