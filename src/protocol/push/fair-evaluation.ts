/** One event, and the rules of many users: whatever these say, they take a bounded number of steps together. */

import { StepBudget } from '#src/protocol/matching/step-budget.ts';
import type { CompiledRuleset, PushVerdict } from './evaluator.ts';
import type { PushContext, PushSubject } from './push-event.ts';

/** A user whose rules are asked about an event. */
export interface AskedUser {
  readonly rules: CompiledRuleset;
  readonly context: PushContext;
}

/**
 * The verdict of each user's rules on an event; undefined for users for whom the budget does not suffice. Each of them has an equal share of the
 * budget, and what one leaves of it is for those who come later: so cheap rules should come first.
 */
export function evaluateFairly(
  users: readonly AskedUser[],
  subject: PushSubject,
  budget: StepBudget,
): (PushVerdict | undefined)[] {
  return users.map(({ rules, context }, index) => {
    const size = Math.max(0, Math.floor(budget.left / (users.length - index)));
    const share = new StepBudget(size);
    const verdict = rules.evaluateWithin(share, subject, context);
    budget.spend(size - share.left);
    return verdict;
  });
}
