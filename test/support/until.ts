/** Waits in earnest, whatever the clocks of a test say. */
export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Looks again and again until there is something to see, and returns it.
 *
 * @param what is told when it does not happen
 * @param patienceMs a machine with other things to do takes its time
 */
export const until = async <T>(
  what: string | (() => string),
  look: () => T | Promise<T>,
  patienceMs = 45_000,
): Promise<NonNullable<T>> => {
  for (const end = Date.now() + patienceMs; ; await pause(20)) {
    const seen = await look();
    if (seen !== undefined && seen !== null && seen !== false) return seen;
    if (Date.now() > end) throw new Error(`never happened: ${typeof what === 'string' ? what : what()}`);
  }
};
