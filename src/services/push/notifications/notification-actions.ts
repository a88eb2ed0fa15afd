import { EVENT_FLAGS } from '#src/protocol/events/event-flags.ts';
import type { StepBudget } from '#src/protocol/matching/step-budget.ts';
import type { CompiledRuleset, PushVerdict } from '#src/protocol/push/evaluator.ts';
import { PushSubject } from '#src/protocol/push/push-event.ts';
import type { PushAction } from '#src/protocol/push/push-ruleset.ts';
import { MENTION_KINDS } from '#src/services/events/building/notification-class.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';

/** The user who was notified: rules may look for their name in the room. */
export interface NotifiedUser {
  readonly userId: string;
  readonly displayName: string | undefined;
}

/** The verdict of a user's present rules on an event; undefined when the budget was spent before. */
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
      memberCount: room.leastJoined,
      senderPowerLevel: levels.userLevel(sender),
      notificationPowerLevels: Object.fromEntries(levels.notifications),
      ...user,
    },
  );
};

/**
 * The actions for an event that notified a user. Whether it highlighted was stored when it was created; where the present rules agree, and
 * the budget suffices to evaluate them, the actions are theirs.
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
