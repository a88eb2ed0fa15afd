import { EVENT_FLAGS } from '#src/protocol/events/event-flags.ts';
import type { StepBudget } from '#src/protocol/matching/step-budget.ts';
import type { CompiledRuleset, PushVerdict } from '#src/protocol/push/evaluator.ts';
import { PushSubject } from '#src/protocol/push/push-event.ts';
import type { PushAction } from '#src/protocol/push/push-ruleset.ts';
import { MENTION_KINDS } from '#src/services/events/building/notification-class.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';

/** Who was notified: their name in the room is what rules may look for. */
export interface NotifiedUser {
  readonly userId: string;
  readonly displayName: string | undefined;
}

/** What a user's rules say of an event today; undefined when the budget was spent before. */
export const verdictFor = (
  room: Room,
  event: StoredEvent,
  user: NotifiedUser,
  rules: CompiledRuleset,
  budget: StepBudget,
): PushVerdict | undefined => {
  const levels = room.powerLevels();
  const { type, sender, content, stateKey } = event;
  return rules.evaluateWithin(
    budget,
    new PushSubject({
      type,
      sender,
      content,
      room_id: room.roomId,
      ...(stateKey === undefined ? {} : { state_key: stateKey }),
    }),
    {
      memberCount: room.joinedCount,
      senderPowerLevel: levels.userLevel(sender),
      notificationPowerLevels: Object.fromEntries(levels.notifications),
      ...user,
    },
  );
};

/**
 * What a user's rules do for an event that notified them. Whether it highlighted was noted when it was made; where the rules say the
 * same today, and the budget suffices to find out, theirs are the actions.
 *
 * @param exception what the event is for the user, where that is not what its class says
 */
export const notificationActions = (
  room: Room,
  event: StoredEvent,
  exception: number | null,
  user: NotifiedUser,
  rules: CompiledRuleset,
  budget: StepBudget,
): readonly PushAction[] => {
  const highlighted =
    exception === null ? (event.flags & EVENT_FLAGS.highlightsAll) !== 0 : exception === MENTION_KINDS.highlight;
  const verdict = verdictFor(room, event, user, rules, budget);
  if (verdict?.notify === true && verdict.highlight === highlighted) return verdict.actions;
  return highlighted ? ['notify', { set_tweak: 'highlight' }] : ['notify'];
};
