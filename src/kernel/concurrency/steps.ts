/**
 * Work that waits only where it has to: it yields each promise that it waits for, and resumes with what that resolves to. What finds
 * everything in memory so is done in one go, and leaves nothing behind that lives until others have had their turn.
 */
export type Steps<T> = Generator<PromiseLike<unknown>, T, unknown>;

/** Something, or a promise of it. */
export type Eventually<T> = T | Promise<T>;

export const isPromise = (value: unknown): value is Promise<unknown> => value instanceof Promise;

/** Does the work. @returns what it comes to, at once when it did not have to wait */
export const perform = <T>(steps: Steps<T>): Eventually<T> => {
  const step = steps.next();
  return step.done === true ? step.value : resume(steps, step.value);
};

const resume = async <T>(steps: Steps<T>, first: PromiseLike<unknown>): Promise<T> => {
  let waiting = first;
  for (;;) {
    let outcome: unknown;
    let hasFailed = false;
    try {
      outcome = await waiting;
    } catch (error) {
      outcome = error;
      hasFailed = true;
    }
    const step = hasFailed ? steps.throw(outcome) : steps.next(outcome);
    if (step.done === true) return step.value;
    waiting = step.value;
  }
};
