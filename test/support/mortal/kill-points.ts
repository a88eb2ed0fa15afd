/** Kills of one scenario at most, where it does not say otherwise. */
const MAX_KILLS = 50;

/**
 * The half steps (before and after each step) at which a scenario is killed: all of them, or `most`, spread evenly from the first to the last. The last is always one of them.
 * `TEST_KILLS` in the environment says how many instead.
 */
export const killPoints = (halfSteps: number, most = MAX_KILLS): readonly number[] => {
  const count = Math.max(1, Math.min(halfSteps, Number(process.env['TEST_KILLS'] ?? most)));
  const last = halfSteps - 1;
  return Array.from(
    { length: count },
    (_, index) => last - Math.floor((index * last) / Math.max(1, count - 1)),
  ).toReversed();
};
