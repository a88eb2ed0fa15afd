/**
 * How much work may be done on texts and patterns that users chose. A step is about one character looked at. Evaluation that runs out of steps stops:
 * what was not looked at does not match.
 */
export class StepBudget {
  #left: number;

  constructor(steps: number) {
    this.#left = steps;
  }

  /** Steps that are left; below zero when the last piece of work took more than there were. */
  get left(): number {
    return this.#left;
  }

  get isSpent(): boolean {
    return this.#left <= 0;
  }

  spend(steps: number): void {
    this.#left -= steps;
  }
}
