/**
 * Changes of a user's push rules, as arithmetic: a ruleset and a change in, a new ruleset or a refusal out
 * (Client-Server API, "Push Rules: API").
 */

import { MASTER_RULE_ID } from './default-rules.ts';
import { type PushRule, type PushRuleKind, type PushRuleset, isDefaultRuleId } from './push-ruleset.ts';
import { type PushRuleRefusal, parsePushActions, refuse } from './rule-validation.ts';

export type PushRulesetChange = { readonly ok: true; readonly ruleset: PushRuleset } | PushRuleRefusal;

/** Where a rule goes among the user's own rules of its kind; `before` decides if both are given. */
export interface PushRulePlace {
  /** The new rule becomes the next more important one than this. */
  readonly before?: string | undefined;
  /** The new rule becomes the next less important one than this. */
  readonly after?: string | undefined;
}

export function findRule(ruleset: PushRuleset, kind: PushRuleKind, ruleId: string): PushRule | undefined {
  return ruleset[kind].find((rule) => rule.rule_id === ruleId);
}

/**
 * Adds a rule of the user, or replaces the one with the same id, which keeps its place (unless a place is given) and
 * stays disabled if it was. Without a place a new rule becomes the user's most important one of the kind.
 *
 * Refusals: M_UNKNOWN if the rule named by the place does not exist, M_INVALID_PARAM if it is a rule of the server.
 *
 * @param rule made by `parsePushRule`
 */
export function addRule(
  ruleset: PushRuleset,
  kind: PushRuleKind,
  rule: PushRule,
  place: PushRulePlace = {},
): PushRulesetChange {
  const rules = ruleset[kind];
  const at = rules.findIndex(({ rule_id }) => rule_id === rule.rule_id);
  const added: PushRule = at < 0 ? rule : { ...rule, enabled: rules[at]!.enabled };
  const relativeTo = place.before ?? place.after;
  if (relativeTo === undefined) {
    return changed(
      ruleset,
      kind,
      at < 0 ? rules.toSpliced(firstOwnPlace(kind, rules), 0, added) : rules.with(at, added),
    );
  }
  if (isDefaultRuleId(relativeTo)) {
    return refuse('M_INVALID_PARAM', 'A push rule cannot be placed relative to one of the rules of the server.');
  }
  const side = place.before === undefined ? 'after' : 'before';
  const found = rules.findIndex(({ rule_id }) => rule_id === relativeTo);
  if (found < 0) return refuse('M_UNKNOWN', `before/after rule not found: ${relativeTo}`);
  if (found === at) return changed(ruleset, kind, rules.with(at, added));
  const others = at < 0 ? rules : rules.toSpliced(at, 1);
  const neighbour = others.findIndex(({ rule_id }) => rule_id === relativeTo);
  return changed(ruleset, kind, others.toSpliced(side === 'before' ? neighbour : neighbour + 1, 0, added));
}

/** Removes a rule of the user. Refusals: M_NOT_FOUND, and M_INVALID_PARAM for a rule of the server, which can only be disabled. */
export function removeRule(ruleset: PushRuleset, kind: PushRuleKind, ruleId: string): PushRulesetChange {
  const rules = ruleset[kind];
  const at = rules.findIndex(({ rule_id }) => rule_id === ruleId);
  if (at < 0) return notFound();
  if (rules[at]!.default)
    return refuse('M_INVALID_PARAM', 'The rules of the server cannot be removed: disable the rule instead.');
  return changed(ruleset, kind, rules.toSpliced(at, 1));
}

/** Enables or disables a rule, the user's own or the server's. Refusals: M_NOT_FOUND, M_BAD_JSON. */
export function setRuleEnabled(
  ruleset: PushRuleset,
  kind: PushRuleKind,
  ruleId: string,
  enabled: unknown,
): PushRulesetChange {
  if (typeof enabled !== 'boolean') return refuse('M_BAD_JSON', '"enabled" must be true or false.');
  return withRule(ruleset, kind, ruleId, (rule) => ({ ...rule, enabled }));
}

/** Gives a rule, the user's own or the server's, other actions. Refusals: M_NOT_FOUND and those of `parsePushActions`. */
export function setRuleActions(
  ruleset: PushRuleset,
  kind: PushRuleKind,
  ruleId: string,
  actions: unknown,
): PushRulesetChange {
  const parsed = parsePushActions(actions);
  if (!parsed.ok) return parsed;
  return withRule(ruleset, kind, ruleId, (rule) => ({ ...rule, actions: parsed.value }));
}

/**
 * The rules of a user who follows into the successor of an upgraded room: the room rule and the overrides and underrides that
 * name the old room are copied for the new one, unless the new room has such rules already.
 */
export function copyRoomRules(ruleset: PushRuleset, oldRoomId: string, newRoomId: string): PushRuleset {
  const copied = (kind: PushRuleKind): readonly PushRule[] => {
    const rules = ruleset[kind];
    const known = new Set(rules.map(({ rule_id }) => rule_id));
    const result: PushRule[] = [];
    for (const rule of rules) {
      const copy = rule.default ? undefined : forRoom(rule, kind, oldRoomId, newRoomId);
      if (copy !== undefined && !known.has(copy.rule_id)) result.push(copy);
      result.push(rule);
    }
    return result;
  };
  return { ...ruleset, override: copied('override'), room: copied('room'), underride: copied('underride') };
}

function forRoom(rule: PushRule, kind: PushRuleKind, oldRoomId: string, newRoomId: string): PushRule | undefined {
  if (kind === 'room') return rule.rule_id === oldRoomId ? { ...rule, rule_id: newRoomId } : undefined;
  const names = rule.conditions?.some(
    ({ kind: is, key, pattern }) => is === 'event_match' && key === 'room_id' && pattern === oldRoomId,
  );
  if (names !== true) return undefined;
  return {
    ...rule,
    rule_id: rule.rule_id.includes(oldRoomId)
      ? rule.rule_id.replaceAll(oldRoomId, () => newRoomId)
      : `${rule.rule_id}_${newRoomId}`,
    conditions: rule.conditions!.map((condition) =>
      condition.kind === 'event_match' && condition.key === 'room_id' && condition.pattern === oldRoomId
        ? { ...condition, pattern: newRoomId }
        : condition,
    ),
  };
}

/** "[Server-default rules] operate at a lower priority than user-defined rules, except for the .m.rule.master rule". */
export function firstOwnPlace(kind: PushRuleKind, rules: readonly PushRule[]): number {
  return kind === 'override' && rules[0]?.rule_id === MASTER_RULE_ID ? 1 : 0;
}

function withRule(
  ruleset: PushRuleset,
  kind: PushRuleKind,
  ruleId: string,
  change: (rule: PushRule) => PushRule,
): PushRulesetChange {
  const at = ruleset[kind].findIndex(({ rule_id }) => rule_id === ruleId);
  if (at < 0) return notFound();
  return changed(ruleset, kind, ruleset[kind].with(at, change(ruleset[kind][at]!)));
}

function changed(ruleset: PushRuleset, kind: PushRuleKind, rules: readonly PushRule[]): PushRulesetChange {
  return { ok: true, ruleset: { ...ruleset, [kind]: rules } };
}

function notFound(): PushRuleRefusal {
  return refuse('M_NOT_FOUND', 'The push rule was not found.');
}
