const SECOND = 1_000;
const FIRST_MS = SECOND;
/** The longest pause within the first quarter of an hour. */
const SHORT_MS = 20 * SECOND;
const SHORT_PAUSES = 50;
export const MAX_PAUSE_MS = 3_600 * SECOND;

/**
 * Milliseconds before the next attempt after `failures` in a row: 1 s, doubled up to 20 s for a
 * quarter of an hour, and then twice as long each time again up to an hour. Up to a quarter of it is added by chance.
 */
export const destinationPauseMs = (failures: number): number => {
  const doubled = FIRST_MS * 2 ** (Math.min(failures, 40) - 1);
  if (doubled <= SHORT_MS) return doubled;
  const beyond = failures - SHORT_PAUSES;
  return beyond <= 0 ? SHORT_MS : Math.min(SHORT_MS * 2 ** Math.min(beyond, 20), MAX_PAUSE_MS);
};
