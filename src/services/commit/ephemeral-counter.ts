import type { Random } from '#src/kernel/random.ts';

const BASE_36 = 'abcdefghijklmnopqrstuvwxyz0123456789';

/** Counts changes of what never reaches the disk (typing, presence) since this process started. */
export class EphemeralCounter {
  /** Names this run of the process: a count from another run says nothing. */
  readonly run: string;
  #current = 0;

  constructor(random: Random) {
    this.run = random.string(8, BASE_36);
  }

  /** The count of the latest change. */
  get current(): number {
    return this.#current;
  }

  /** Counts one change. */
  next(): number {
    return (this.#current += 1);
  }
}
