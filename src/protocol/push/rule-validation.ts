/** Checks of what clients send to make or change push rules (Client-Server API, `PUT /pushrules/...`). Refusals are values. */

import type { Errcode } from '#src/protocol/errors/matrix-error.ts';
import { fitsBytes } from '#src/protocol/identifiers/byte-length.ts';
import { MAX_PATTERN_LENGTH } from '#src/protocol/matching/glob.ts';
import { isMemberCountTest, isSimpleValue, MAX_KEY_LENGTH } from './conditions.ts';
import {
  type HistoricalAction,
  type PushAction,
  type PushCondition,
  type PushRule,
  type PushRuleKind,
  isDefaultRuleId,
} from './push-ruleset.ts';

/** Why a change of push rules is refused: what the error response says. */
export interface PushRuleRefusal {
  readonly ok: false;
  readonly errcode: Errcode;
  readonly message: string;
}

export function refuse(errcode: Errcode, message: string): PushRuleRefusal {
  return { ok: false, errcode, message };
}

type Checked<T> = { readonly ok: true; readonly value: T } | PushRuleRefusal;

/** Room and user ids have 255 bytes at most; clients make ids of several of them. */
export const MAX_RULE_ID_LENGTH = 512;

const HISTORICAL_ACTIONS: ReadonlySet<unknown> = new Set<HistoricalAction>(['dont_notify', 'coalesce']);

/**
 * The rule that a request asks for, enabled and ready for `addRule`.
 *
 * Refusals: M_INVALID_PARAM for a rule id that is empty, starts with a dot or holds a slash or backslash; M_MISSING_PARAM for
 * a member that the kind needs; M_BAD_JSON for one of the wrong type; M_INVALID_PARAM for an action that does not exist; M_TOO_LARGE for
 * an id, key or pattern that is too long.
 *
 * @param body the request body
 */
export function parsePushRule(
  kind: PushRuleKind,
  ruleId: string,
  body: Readonly<Record<string, unknown>>,
): Checked<PushRule> {
  const idRefusal = refusalOfRuleId(ruleId);
  if (idRefusal !== undefined) return idRefusal;
  if (body['actions'] === undefined) return refuse('M_MISSING_PARAM', 'A push rule needs "actions", a list.');
  const actions = parsePushActions(body['actions']);
  if (!actions.ok) return actions;
  const rule: PushRule = { rule_id: ruleId, default: false, enabled: true, actions: actions.value };
  if (kind === 'override' || kind === 'underride') {
    const conditions = parseConditions(body['conditions'] ?? []);
    return conditions.ok ? { ok: true, value: { ...rule, conditions: conditions.value } } : conditions;
  }
  if (kind === 'content') {
    const { pattern } = body;
    if (pattern === undefined) return refuse('M_MISSING_PARAM', 'A content rule needs a "pattern".');
    if (typeof pattern !== 'string') return refuse('M_BAD_JSON', '"pattern" of a push rule must be a string.');
    if (pattern.length > MAX_PATTERN_LENGTH) return patternTooLong();
    return { ok: true, value: { ...rule, pattern } };
  }
  return { ok: true, value: rule };
}

const patternTooLong = (): PushRuleRefusal =>
  refuse('M_TOO_LARGE', `A "pattern" of a push rule has at most ${MAX_PATTERN_LENGTH} characters.`);

/** "If the string starts with a dot, the request MUST be rejected ... Slashes and backslashes are also not allowed." */
function refusalOfRuleId(ruleId: string): PushRuleRefusal | undefined {
  if (ruleId === '') return refuse('M_INVALID_PARAM', 'A push rule needs a rule id.');
  if (isDefaultRuleId(ruleId)) {
    return refuse('M_INVALID_PARAM', 'Rule ids that start with a dot are reserved for the rules of the server.');
  }
  if (!fitsBytes(ruleId, MAX_RULE_ID_LENGTH))
    return refuse('M_TOO_LARGE', `A rule id must not be longer than ${MAX_RULE_ID_LENGTH} bytes.`);
  if (/[/\\]/.test(ruleId)) return refuse('M_INVALID_PARAM', 'A rule id must not contain slashes or backslashes.');
  return undefined;
}

/** The actions of a rule, the historical ones among them. */
export function parsePushActions(actions: unknown): Checked<readonly PushAction[]> {
  if (!Array.isArray(actions)) return refuse('M_BAD_JSON', '"actions" of a push rule must be a list.');
  const kept: PushAction[] = [];
  for (const action of actions as readonly unknown[]) {
    if (action === 'notify' || HISTORICAL_ACTIONS.has(action)) kept.push(action as 'notify' | HistoricalAction);
    else if (typeof action === 'string') {
      return refuse(
        'M_INVALID_PARAM',
        `"${action.slice(0, 64)}" is not an action: use "notify" or {"set_tweak": ...}.`,
      );
    } else if (isObject(action) && typeof action['set_tweak'] === 'string') {
      kept.push({ ...action, set_tweak: action['set_tweak'] });
    } else {
      return refuse('M_BAD_JSON', 'An action of a push rule is "notify" or an object whose "set_tweak" is a string.');
    }
  }
  return { ok: true, value: kept };
}

/** Conditions of kinds that are known must have valid parameters; those of unknown kinds are kept as they are. */
function parseConditions(conditions: unknown): Checked<readonly PushCondition[]> {
  if (!Array.isArray(conditions)) return refuse('M_BAD_JSON', '"conditions" of a push rule must be a list.');
  const kept: PushCondition[] = [];
  for (const condition of conditions as readonly unknown[]) {
    if (!isObject(condition) || typeof condition['kind'] !== 'string') {
      return refuse('M_BAD_JSON', 'A condition of a push rule must be an object whose "kind" is a string.');
    }
    const fault = faultOf(condition['kind'], condition) ?? strangeMemberOf(condition);
    if (fault !== undefined) return refuse('M_BAD_JSON', `A condition of kind "${condition['kind']}" needs ${fault}.`);
    const { key, pattern } = condition;
    if (typeof pattern === 'string' && pattern.length > MAX_PATTERN_LENGTH) return patternTooLong();
    if (typeof key === 'string' && key.length > MAX_KEY_LENGTH)
      return refuse('M_TOO_LARGE', `A "key" of a push rule has at most ${MAX_KEY_LENGTH} characters.`);
    kept.push(condition as PushCondition);
  }
  return { ok: true, value: kept };
}

/** A member that has the wrong type, whatever the kind. Client-Server API, `PushCondition`. */
function strangeMemberOf(condition: Readonly<Record<string, unknown>>): string | undefined {
  for (const name of ['key', 'pattern', 'is'])
    if (condition[name] !== undefined && typeof condition[name] !== 'string') return `a string where it has "${name}"`;
  return condition['value'] === undefined || isSimpleValue(condition['value'])
    ? undefined
    : 'a string, an integer, a boolean or null where it has "value"';
}

/** What a condition of a known kind lacks. */
function faultOf(kind: string, { key, pattern, value, is }: Readonly<Record<string, unknown>>): string | undefined {
  switch (kind) {
    case 'event_match':
      return typeof key === 'string' && typeof pattern === 'string'
        ? undefined
        : 'a "key" and a "pattern", both strings';
    case 'event_property_is':
    case 'event_property_contains':
      return typeof key === 'string' && isSimpleValue(value)
        ? undefined
        : 'a "key", a string, and a "value" that is a string, an integer, a boolean or null';
    case 'room_member_count':
      return typeof is === 'string' && isMemberCountTest(is)
        ? undefined
        : 'an "is": a number after one of ==, <, >, >=, <= or nothing';
    case 'sender_notification_permission':
      return typeof key === 'string' ? undefined : 'a "key", a string';
    default:
      return undefined;
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
