import type { NotificationClass } from '#src/protocol/push/default-class.ts';
import { saysOnlyDefaults } from '#src/protocol/push/default-class.ts';
import { THREAD_CONDITIONS } from '#src/protocol/push/conditions.ts';
import {
  DEFAULT_RULES,
  type DefaultRules,
  MASTER_RULE_ID,
  RULES_FOR_NAMED,
  RULES_FOR_PUSHES,
  SUBSCRIBED_THREAD_RULE_ID,
  UNSUBSCRIBED_THREAD_RULE_ID,
} from '#src/protocol/push/default-rules.ts';
import { compileRuleset, type CompiledRuleset, verdictOf } from '#src/protocol/push/evaluator.ts';
import { foldCase } from '#src/protocol/push/push-event.ts';
import { PUSH_RULE_KINDS, type PushRule, type PushRuleset } from '#src/protocol/push/push-ruleset.ts';
import { findRule } from '#src/protocol/push/rule-editing.ts';

/**
 * How a user is notified of a room, as far as it does not depend on each event:
 * `all`: by the events' class; `mentions`: only by `@room` and mentions of the user;
 * `muted`: not at all.
 */
export type RoomMode = 'all' | 'mentions' | 'muted';

/** The same for a thread; `followed`: everything that no rule before the ones on threads silences. */
export type ThreadMode = RoomMode | 'followed';

/**
 * The class of an event for a user with this mode, unless an exception is stored for them.
 *
 * @param notifiesFollowers whether the event notifies those who follow its thread whatever its class is
 */
export const classUnder = (
  mode: ThreadMode,
  eventClass: NotificationClass,
  notifiesFollowers = false,
): NotificationClass => {
  if (mode === 'muted') return 'none';
  if (mode === 'all' || eventClass === 'highlight') return eventClass;
  return mode === 'followed' && notifiesFollowers ? 'notify' : 'none';
};

/** A user's push rules, compiled. */
export interface UserRules {
  /** Whether the rules must be evaluated for every event, because the mode is not enough. For mentioned users they always are. */
  readonly isPersonal: boolean;
  /** Whether custom rules match the user's display name in the room. */
  readonly needsDisplayName: boolean;
  modeIn(roomId: string): RoomMode;
  /** Whether the rules depend on thread subscriptions. */
  readonly asksForThreads: boolean;
  /** The modes for threads of a room that the user follows, or does not follow. */
  threadModeIn(roomId: string, isFollowed: boolean): ThreadMode;
  /** The rules themselves; parsed when first asked for. */
  readonly compiled: CompiledRuleset;
  /** Like `ruleset`, with the rules that only decide about pushes. */
  readonly compiledForPushes: CompiledRuleset;
}

/** The rules of users who have changed nothing; for a mentioned user they are evaluated with those that contain the user's name. */
export const DEFAULT_USER_RULES: UserRules = {
  isPersonal: false,
  needsDisplayName: false,
  modeIn: () => 'all',
  asksForThreads: false,
  threadModeIn: () => 'all',
  get compiled(): CompiledRuleset {
    throw new Error('the default rules name the user: compile them for one');
  },
  get compiledForPushes(): CompiledRuleset {
    throw new Error('the default rules name the user: compile them for one');
  },
};

const notifies = (rule: PushRule | undefined): boolean => rule?.enabled === true && verdictOf(rule.actions).notify;

/** The folded id of the room that an override rule mutes and nothing else. */
const roomMutedBy = (rule: PushRule): string | undefined => {
  const [condition, second] = rule.conditions ?? [];
  if (notifies(rule) || condition === undefined || second !== undefined) return undefined;
  const { kind, key, pattern } = condition;
  return kind === 'event_match' && key === 'room_id' && pattern !== undefined && !/[*?]/.test(pattern)
    ? foldCase(pattern)
    : undefined;
};

const isOnThreads = ({ conditions = [] }: PushRule): boolean =>
  conditions.some(({ kind }) => THREAD_CONDITIONS.has(kind));

const sameVerdict = (rule: PushRule, original: PushRule | undefined): boolean =>
  original !== undefined && rule.enabled === original.enabled && sameActions(rule, original);

const sameActions = (rule: PushRule, original: PushRule | undefined): boolean => {
  if (original === undefined) return false;
  const [mine, theirs] = [verdictOf(rule.actions), verdictOf(original.actions)];
  return mine.notify === theirs.notify && mine.highlight === theirs.highlight;
};

/** Compiles a user's rules. */
export const userRules = (ruleset: PushRuleset, userId: string, defaults: DefaultRules = DEFAULT_RULES): UserRules => {
  if (saysOnlyDefaults(ruleset, userId, defaults)) return DEFAULT_USER_RULES;
  let compiled: CompiledRuleset | undefined;
  let compiledForPushes: CompiledRuleset | undefined;
  const original = defaults.of(userId);
  /** Whether a rule on threads holds with the server's own actions. */
  const holds = (ruleId: string): boolean => {
    const rule = findRule(ruleset, 'postcontent', ruleId);
    return rule?.enabled === true && sameActions(rule, findRule(original, 'postcontent', ruleId));
  };
  const silencesOthers = holds(UNSUBSCRIBED_THREAD_RULE_ID);
  const hearsFollowed = holds(SUBSCRIBED_THREAD_RULE_ID);
  const ready = (isPersonal: boolean, modeIn: (roomId: string) => RoomMode): UserRules => ({
    isPersonal,
    asksForThreads: PUSH_RULE_KINDS.some((kind) => ruleset[kind].some((rule) => rule.enabled && isOnThreads(rule))),
    threadModeIn(roomId, isFollowed) {
      const mode = modeIn(roomId);
      if (mode === 'muted') return mode;
      if (isFollowed) return hearsFollowed ? 'followed' : mode;
      return silencesOthers ? 'mentions' : mode;
    },
    needsDisplayName: PUSH_RULE_KINDS.some((kind) =>
      ruleset[kind].some(
        (rule) =>
          !rule.default &&
          rule.enabled &&
          rule.conditions?.some((condition) => condition.kind === 'contains_display_name') === true,
      ),
    ),
    modeIn,
    get compiled() {
      return (compiled ??= compileRuleset(ruleset));
    },
    get compiledForPushes() {
      return (compiledForPushes ??= compileRuleset(ruleset, true));
    },
  });

  const master = findRule(ruleset, 'override', MASTER_RULE_ID);
  if (master?.enabled === true && !notifies(master)) return ready(false, () => 'muted');

  const muted = new Set<string>();
  const byRoom = new Map<string, RoomMode>();
  let isPersonal = false;
  for (const rule of ruleset.override) {
    if (rule.default || !rule.enabled) continue;
    const room = roomMutedBy(rule);
    if (room === undefined) isPersonal = true;
    else muted.add(room);
  }
  for (const rule of ruleset.room) {
    if (!rule.enabled) continue;
    byRoom.set(rule.rule_id, notifies(rule) ? 'all' : 'mentions');
    if (notifies(rule)) isPersonal = true;
  }
  if ([...ruleset.content, ...ruleset.sender, ...ruleset.underride].some((rule) => !rule.default && rule.enabled))
    isPersonal = true;

  const quiet = ['.m.rule.message', '.m.rule.encrypted'].every((id) => !notifies(findRule(ruleset, 'underride', id)));
  // Where the default underrides are all silent, no event of class "notify" is left: the mode is sufficient.
  const silent = ruleset.underride.every((rule) => !rule.default || !notifies(rule));
  for (const kind of PUSH_RULE_KINDS) {
    if (kind === 'underride' && silent) continue;
    for (const rule of ruleset[kind]) {
      // Rules of mentioned users are always evaluated, and push-only rules do not affect unread counts.
      if (!rule.default || RULES_FOR_NAMED.has(rule.rule_id) || RULES_FOR_PUSHES.has(rule.rule_id)) continue;
      const there = findRule(original, kind, rule.rule_id);
      // Whether they are enabled is in the mode of threads.
      const isSame = kind === 'postcontent' ? !rule.enabled || sameActions(rule, there) : sameVerdict(rule, there);
      if (!isSame) isPersonal = true;
    }
  }
  return ready(isPersonal, (roomId) =>
    muted.size > 0 && muted.has(foldCase(roomId)) ? 'muted' : (byRoom.get(roomId) ?? (quiet ? 'mentions' : 'all')),
  );
};
