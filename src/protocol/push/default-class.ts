/**
 * The notification class of an event: the verdict of the default rules for users that it does not mention.
 * It is decided once per event, so that a message to 500 members is not evaluated 500 times; only users with rules of their
 * own and users that the event mentions (`personallyConcerned`) are evaluated one by one.
 */

import { valueAtPath } from '#src/protocol/matching/property-path.ts';
import { DEFAULT_RULES, type DefaultRules } from './default-rules.ts';
import { type CompiledRuleset, compileRuleset } from './evaluator.ts';
import type { PushEvent, PushSubject, RoomPushContext } from './push-event.ts';
import { PUSH_RULE_KINDS, type PushRule, type PushRuleset } from './push-ruleset.ts';

/** `highlight`: everyone is notified with a highlight (a room mention, a tombstone). */
export type NotificationClass = 'none' | 'notify' | 'highlight';

const compiled = new WeakMap<DefaultRules, CompiledRuleset>();
const compiledForFollowers = new WeakMap<DefaultRules, CompiledRuleset>();

const MENTIONED_USERS = ['content', 'm.mentions', 'user_ids'];

/** The class to store with an event: the verdict of the default rules for all but the sender and mentioned users. */
export function defaultClassOf(
  event: PushEvent | PushSubject,
  room: RoomPushContext,
  defaults: DefaultRules = DEFAULT_RULES,
): NotificationClass {
  let rules = compiled.get(defaults);
  if (rules === undefined) compiled.set(defaults, (rules = compileRuleset(defaults.impersonal)));
  // No user has the empty id, so nobody's own events are left out here.
  const { notify, highlight } = rules.evaluate(event, { ...room, userId: '' });
  return highlight ? 'highlight' : notify ? 'notify' : 'none';
}

/**
 * Whether what is said in a thread notifies those who follow it because of that, and of nothing else: no rule that comes before the ones
 * on threads matches. MSC4306.
 */
export function notifiesFollowers(
  event: PushEvent | PushSubject,
  room: RoomPushContext,
  defaults: DefaultRules = DEFAULT_RULES,
): boolean {
  let rules = compiledForFollowers.get(defaults);
  if (rules === undefined) {
    const { impersonal } = defaults;
    const postcontent = impersonal.postcontent.map((rule) => ({ ...rule, enabled: true }));
    compiledForFollowers.set(defaults, (rules = compileRuleset({ ...impersonal, postcontent, underride: [] })));
  }
  const { notify, highlight } = rules.evaluate(event, { ...room, userId: '', followsThread: true });
  return notify && !highlight;
}

/**
 * The users for whom the default rules may differ from the event's class: those mentioned, or invited by it. Whose name
 * stands in its text, `NameIndex` tells.
 */
export function personallyConcerned(event: PushEvent): ReadonlySet<string> {
  const users = new Set<string>();
  const mentioned = valueAtPath(event, MENTIONED_USERS);
  if (Array.isArray(mentioned)) for (const userId of mentioned) if (typeof userId === 'string') users.add(userId);
  if (event.type === 'm.room.member' && event.content['membership'] === 'invite' && event.state_key !== undefined) {
    users.add(event.state_key);
  }
  users.delete(event.sender);
  return users;
}

/** Whether the rules say exactly what the default rules say, so that the class of an event holds for this user. */
export function saysOnlyDefaults(
  ruleset: PushRuleset,
  userId: string,
  defaultRules: DefaultRules = DEFAULT_RULES,
): boolean {
  const defaults = defaultRules.of(userId);
  return PUSH_RULE_KINDS.every((kind) => {
    // A disabled rule of the user's own says nothing.
    const said = ruleset[kind].filter((rule) => rule.default || rule.enabled);
    return said.length === defaults[kind].length && said.every((rule, i) => saysTheSame(rule, defaults[kind][i]!));
  });
}

function saysTheSame(rule: PushRule, original: PushRule): boolean {
  return (
    rule.rule_id === original.rule_id &&
    rule.enabled === original.enabled &&
    (rule.actions === original.actions || JSON.stringify(rule.actions) === JSON.stringify(original.actions))
  );
}
