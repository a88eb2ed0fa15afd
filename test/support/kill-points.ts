/** Kills of one scenario at most, where it does not say otherwise. */
const MAX_KILLS = 50;

/**
 * The half steps (before and after each step) at which a scenario is killed: all of them, or `most`, spread evenly. `TEST_KILLS` in the
 * environment says how many instead.
 */
export const killPoints = (halfSteps: number, most = MAX_KILLS): readonly number[] => {
  const stride = Math.max(1, halfSteps / Number(process.env['TEST_KILLS'] ?? most));
  return Array.from({ length: Math.ceil(halfSteps / stride) }, (_, index) => Math.floor(index * stride));
};
