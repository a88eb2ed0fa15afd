import { writeAll } from '#src/kernel/concurrency/write-all.ts';
import { isOfDatabase, isUnavailable } from '#src/storage/failures.ts';

/** Of the elements that could not be done, those whose errors are kept. */
const TOLD = 5;

/**
 * The elements of a job's payload: one that cannot be done does not keep back the others. All that can be done are, and then the job fails for the
 * rest: it is logged and counted, and tried again, for which it has to be harmless to do the others once more.
 */
export class JobElements {
  readonly #errors: unknown[] = [];
  #failed = 0;

  /**
   * Does elements at once; when that fails, halves of them, down to single ones.
   *
   * @throws what the database throws when the fault is its own: that would be the same for each of them
   */
  async all<T>(elements: readonly T[], work: (elements: readonly T[]) => Promise<unknown>): Promise<void> {
    if (elements.length === 0) return;
    let ofDatabase: { readonly error: unknown } | undefined;
    await writeAll(
      elements,
      async (some) => {
        if (ofDatabase === undefined) await work(some);
      },
      (error) => isOfDatabase(error) || isUnavailable(error),
      (some, error) => {
        if (isOfDatabase(error) || isUnavailable(error)) ofDatabase ??= { error };
        else {
          this.#failed += some.length;
          if (this.#errors.length < TOLD) this.#errors.push(error);
        }
      },
    );
    if (ofDatabase !== undefined) throw (ofDatabase as { readonly error: unknown }).error;
  }

  /** To be called when all of the job was tried. @throws AggregateError when some elements could not be done */
  end(): void {
    if (this.#failed > 0)
      throw new AggregateError(this.#errors, `${this.#failed} elements of the job could not be done, all others are.`, {
        cause: this.#errors[0],
      });
  }
}
