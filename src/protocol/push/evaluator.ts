/** Push rules applied to events: parsed once per user, evaluated for every event that the user may be told of. */

import type { StepBudget } from '#src/protocol/matching/step-budget.ts';
import { type ConditionPredicate, bodyMatches, compileCondition } from './conditions.ts';
import { LEGACY_MENTION_RULES, RULES_FOR_PUSHES } from './default-rules.ts';
import { type PushContext, type PushEvent, PushSubject, saysWhomItMentions } from './push-event.ts';
import {
  PUSH_RULE_KINDS,
  type PushAction,
  type PushRule,
  type PushRuleKind,
  type PushRuleset,
} from './push-ruleset.ts';

export interface PushVerdict {
  /** Whether the event counts as a notification and goes to the user's pushers. */
  readonly notify: boolean;
  /** Whether the notification is highlighted; never true without `notify`. */
  readonly highlight: boolean;
  /** The actions of the rule that matched; none if no rule did. */
  readonly actions: readonly PushAction[];
}

export interface CompiledRuleset {
  /**
   * What the rules say about an event.
   *
   * @param event the event, or the subject made of it when many users evaluate the same event
   */
  evaluate(event: PushEvent | PushSubject, context: PushContext): PushVerdict;

  /** The same with a bound on the work: undefined when the budget was spent before a rule matched. */
  evaluateWithin(budget: StepBudget, subject: PushSubject, context: PushContext): PushVerdict | undefined;

  /** How many conditions there are: about what an evaluation costs, next to other rulesets. */
  readonly weight: number;
}

const NO_PUSH: PushVerdict = { notify: false, highlight: false, actions: [] };

/** Rules do not change, and a change of one leaves the others the same objects: those are not parsed again. */
const compiledRules = new WeakMap<PushRule, CompiledRule | 'never'>();

interface CompiledRule {
  readonly predicates: readonly ConditionPredicate[];
  readonly verdict: PushVerdict;
}

/**
 * Parses a user's rules. Rules that are disabled or can never match cost nothing afterwards.
 *
 * @param withPushes whether rules that say what is pushed, and nothing of what is unread, are among them
 */
export function compileRuleset(ruleset: PushRuleset, withPushes = false): CompiledRuleset {
  const rules: CompiledRule[] = [];
  for (const kind of PUSH_RULE_KINDS) {
    for (const rule of ruleset[kind]) {
      if (!rule.enabled || (!withPushes && rule.default && RULES_FOR_PUSHES.has(rule.rule_id))) continue;
      let compiled = compiledRules.get(rule);
      if (compiled === undefined) compiledRules.set(rule, (compiled = compileRule(kind, rule) ?? 'never'));
      if (compiled !== 'never') rules.push(compiled);
    }
  }
  const evaluate = (subject: PushSubject, context: PushContext, budget?: StepBudget): PushVerdict | undefined => {
    // "Homeservers MUST NOT notify the Push Gateway for events that the user has sent themselves."
    if (subject.event.sender === context.userId) return NO_PUSH;
    nextRule: for (const { predicates, verdict } of rules) {
      budget?.spend(1 + predicates.length);
      for (const predicate of predicates) {
        const holds = predicate(subject, context, budget);
        if (budget?.isSpent === true) return undefined;
        if (!holds) continue nextRule;
      }
      return verdict;
    }
    return NO_PUSH;
  };
  return {
    evaluate: (event, context) =>
      evaluate(event instanceof PushSubject ? event : new PushSubject(event), context) ?? NO_PUSH,
    evaluateWithin: (budget, subject, context) => evaluate(subject, context, budget),
    weight: rules.reduce((sum, { predicates }) => sum + 1 + predicates.length, 0),
  };
}

function compileRule(kind: PushRuleKind, rule: PushRule): CompiledRule | undefined {
  const predicates = compilePredicates(kind, rule);
  if (predicates === undefined) return undefined;
  const isLegacy = rule.default && LEGACY_MENTION_RULES.has(rule.rule_id);
  return { predicates: isLegacy ? [saysNoMentions, ...predicates] : predicates, verdict: verdictOf(rule.actions) };
}

const saysNoMentions: ConditionPredicate = ({ event }) => !saysWhomItMentions(event);

function compilePredicates(kind: PushRuleKind, rule: PushRule): readonly ConditionPredicate[] | undefined {
  const ruleId = rule.rule_id;
  switch (kind) {
    case 'content': {
      const predicate = rule.pattern === undefined ? undefined : bodyMatches(rule.pattern);
      return predicate === undefined ? undefined : [predicate];
    }
    case 'room':
      return [(subject) => subject.event.room_id === ruleId];
    case 'sender':
      return [(subject) => subject.event.sender === ruleId];
    case 'override':
    case 'postcontent':
    case 'underride': {
      const predicates: ConditionPredicate[] = [];
      for (const condition of rule.conditions ?? []) {
        const predicate = compileCondition(condition);
        if (predicate === undefined) return undefined;
        predicates.push(predicate);
      }
      return predicates;
    }
  }
}

/** What a list of actions amounts to. A `highlight` tweak without a value means true. */
export function verdictOf(actions: readonly PushAction[]): PushVerdict {
  let notify = false;
  let highlight = false;
  for (const action of actions) {
    if (action === 'notify') notify = true;
    else if (typeof action === 'object' && action.set_tweak === 'highlight')
      highlight = action.value === undefined || action.value === true;
  }
  return { notify, highlight: notify && highlight, actions };
}
