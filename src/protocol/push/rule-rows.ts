/**
 * What is kept of a user's push rules: a row for each rule of their own, and one for each rule of the server that they changed. What they
 * left alone is not kept, so that new default rules reach every user.
 */

import { isDeepStrictEqual } from 'node:util';
import { DEFAULT_RULES, type DefaultRules } from './default-rules.ts';
import { PUSH_RULE_KINDS, type PushRule, type PushRuleKind, type PushRuleset } from './push-ruleset.ts';
import { firstOwnPlace } from './rule-editing.ts';

export interface PushRuleRow {
  readonly kind: PushRuleKind;
  readonly ruleId: string;
  /** Rules of the user's own are in the order of these numbers; null for a rule of the server, whose place is given. */
  readonly place: number | null;
  /** Null: as the server has it. */
  readonly enabled: boolean | null;
  /** JSON: `actions`, `conditions` and `pattern` of the rule; of a rule of the server only actions that were changed. */
  readonly content: string;
}

/** A user's rules, and how they are kept. */
export interface KeptRules {
  readonly ruleset: PushRuleset;
  /** Those that have a row, by `keyOf`. */
  readonly rows: ReadonlyMap<string, { readonly place: number | null; readonly bytes: number }>;
  /** Bytes of all rows: ids and contents. */
  readonly bytes: number;
}

export interface KeptRulesChange {
  readonly after: KeptRules;
  readonly written: readonly PushRuleRow[];
  readonly removed: readonly Pick<PushRuleRow, 'kind' | 'ruleId'>[];
}

const GAP = 1_024;
/** Of the magnitude of the numbers: less, and there is no number in between soon. */
const LEAST_GAP = 1e-9;

const keyOf = (kind: PushRuleKind, ruleId: string): string => `${kind} ${ruleId}`;

/** The rules of a user who has changed nothing. */
export const defaultKeptRules = (userId: string, defaults: DefaultRules = DEFAULT_RULES): KeptRules => ({
  ruleset: defaults.of(userId),
  rows: new Map(),
  bytes: 0,
});

/** A user's rules from the rows that are kept of them, in any order. */
export function keptRulesFrom(
  rows: readonly PushRuleRow[],
  userId: string,
  defaults: DefaultRules = DEFAULT_RULES,
): KeptRules {
  if (rows.length === 0) return defaultKeptRules(userId, defaults);
  const original = defaults.of(userId);
  const byKind = Map.groupBy(rows, ({ kind }) => kind);
  const merge = (kind: PushRuleKind): readonly PushRule[] => {
    const kept = byKind.get(kind) ?? [];
    const changed = new Map(kept.filter(({ place }) => place === null).map((row) => [row.ruleId, row]));
    const rules = original[kind].map((rule): PushRule => {
      const row = changed.get(rule.rule_id);
      if (row === undefined) return rule;
      return { ...rule, ...contentOf(row), enabled: row.enabled ?? rule.enabled };
    });
    const own = kept
      .filter(({ place }) => place !== null)
      .toSorted((a, b) => (a.place ?? 0) - (b.place ?? 0))
      .map((row): PushRule => ({
        rule_id: row.ruleId,
        default: false,
        enabled: row.enabled ?? true,
        actions: [],
        ...contentOf(row),
      }));
    return rules.toSpliced(firstOwnPlace(kind, rules), 0, ...own);
  };
  const sizes = new Map(
    rows.map((row) => [keyOf(row.kind, row.ruleId), { place: row.place, bytes: bytesOf(row) }] as const),
  );
  return { ruleset: rulesetOf(merge), rows: sizes, bytes: sum(sizes) };
}

/**
 * What to write so that other rules are kept.
 *
 * @param after made of `before.ruleset`: rules that are the same objects are not written again
 * @param placed the rule that was put somewhere, if it was: it gets a new place among the others
 */
export function changeOfKeptRules(
  before: KeptRules,
  after: PushRuleset,
  userId: string,
  placed?: { readonly kind: PushRuleKind; readonly ruleId: string },
  defaults: DefaultRules = DEFAULT_RULES,
): KeptRulesChange {
  const original = defaults.of(userId);
  const rows = new Map(before.rows);
  const written: PushRuleRow[] = [];
  const removed: { kind: PushRuleKind; ruleId: string }[] = [];
  const write = (row: PushRuleRow): void => {
    written.push(row);
    rows.set(keyOf(row.kind, row.ruleId), { place: row.place, bytes: bytesOf(row) });
  };
  const remove = (kind: PushRuleKind, ruleId: string): void => {
    if (rows.delete(keyOf(kind, ruleId))) removed.push({ kind, ruleId });
  };
  for (const kind of PUSH_RULE_KINDS) {
    if (after[kind] === before.ruleset[kind]) continue;
    const known = new Map(before.ruleset[kind].map((rule) => [rule.rule_id, rule]));
    const own = after[kind].filter((rule) => !rule.default);
    const places = placesOf(
      own.map(({ rule_id: ruleId }) =>
        placed?.kind === kind && placed.ruleId === ruleId
          ? undefined
          : (rows.get(keyOf(kind, ruleId))?.place ?? undefined),
      ),
    );
    for (const [index, rule] of own.entries()) {
      const place = places[index] ?? 0;
      const kept = known.get(rule.rule_id);
      known.delete(rule.rule_id);
      const isInPlace = rows.get(keyOf(kind, rule.rule_id))?.place === place;
      if (isInPlace && kept === rule) continue;
      const row = rowOf(kind, rule, place);
      if (!isInPlace || kept === undefined || !isDeepStrictEqual(row, rowOf(kind, kept, place))) write(row);
    }
    for (const rule of after[kind]) {
      if (!rule.default) continue;
      const isSame = known.get(rule.rule_id) === rule;
      known.delete(rule.rule_id);
      const there = isSame ? undefined : original[kind].find((one) => one.rule_id === rule.rule_id);
      if (there === undefined) continue;
      const enabled = rule.enabled === there.enabled ? null : rule.enabled;
      const actions = JSON.stringify(rule.actions) === JSON.stringify(there.actions) ? undefined : rule.actions;
      if (enabled === null && actions === undefined) remove(kind, rule.rule_id);
      else if (
        !isDeepStrictEqual(
          rule,
          before.ruleset[kind].find((one) => one.rule_id === rule.rule_id),
        )
      )
        write({ kind, ruleId: rule.rule_id, place: null, enabled, content: JSON.stringify({ actions }) });
    }
    for (const ruleId of known.keys()) remove(kind, ruleId);
  }
  return { after: { ruleset: after, rows, bytes: sum(rows) }, written, removed };
}

function rowOf(kind: PushRuleKind, rule: PushRule, place: number): PushRuleRow {
  const { actions, conditions, pattern } = rule;
  return {
    kind,
    ruleId: rule.rule_id,
    place,
    enabled: rule.enabled,
    content: JSON.stringify({ actions, conditions, pattern }),
  };
}

const contentOf = (row: PushRuleRow): Pick<PushRule, 'conditions' | 'pattern'> & Partial<Pick<PushRule, 'actions'>> =>
  JSON.parse(row.content) as PushRule;

const bytesOf = ({ ruleId, content }: PushRuleRow): number => Buffer.byteLength(ruleId) + Buffer.byteLength(content);

const sum = (rows: KeptRules['rows']): number => {
  let bytes = 0;
  for (const row of rows.values()) bytes += row.bytes;
  return bytes;
};

const rulesetOf = (rules: (kind: PushRuleKind) => readonly PushRule[]): PushRuleset => ({
  override: rules('override'),
  content: rules('content'),
  postcontent: rules('postcontent'),
  room: rules('room'),
  sender: rules('sender'),
  underride: rules('underride'),
});

/** Ascending numbers; those that are there stay, as long as there is room between them for what is new. */
function placesOf(known: readonly (number | undefined)[]): readonly number[] {
  const places = [...known];
  for (let from = 0; from < places.length;) {
    if (places[from] !== undefined) {
      from++;
      continue;
    }
    let to = from;
    while (to < places.length && places[to] === undefined) to++;
    const left = places[from - 1];
    const right = places[to];
    const step = left === undefined || right === undefined ? GAP : (right - left) / (to - from + 1);
    if (step < LEAST_GAP * Math.max(1, Math.abs(left ?? 0), Math.abs(right ?? 0))) return known.map((_, i) => i * GAP);
    const start = left ?? (right ?? GAP) - step * (to - from + 1);
    for (let i = from; i < to; i++) places[i] = start + step * (i - from + 1);
    from = to;
  }
  return places.map((place) => place ?? 0);
}
