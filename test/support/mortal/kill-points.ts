/** Kills of one scenario at most. */
const MAX_KILLS = 50;

/**
 * The half steps (before and after each step) at which a scenario is killed: all of them, or `MAX_KILLS`, spread evenly from the first to the last. The last is always one of them.
 * `TEST_KILLS` in the environment says how many instead.
 */
export const killPoints = (halfSteps: number): readonly number[] => {
  const count = Math.max(1, Math.min(halfSteps, Number(process.env['TEST_KILLS'] ?? MAX_KILLS)));
  const last = halfSteps - 1;
  return Array.from(
    { length: count },
    (_, index) => last - Math.floor((index * last) / Math.max(1, count - 1)),
  ).toReversed();
};
