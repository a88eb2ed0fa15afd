import type { Timer, Timers } from '#src/kernel/timers.ts';

const LOOK_EVERY_MS = 2_000;
/** So often in succession there is little to do, before memory is preferred. */
const QUIET_LOOKS = 3;
/** So many looks long it is: that is how long it takes to give back what there is. */
const SAVING_LOOKS = 15;
/** Milliseconds of work after which there is something to give back again. */
const WORTH_MS = 1_000;
/** Share of the time that a server with little to do is busy. */
const LITTLE = 0.1;
/** While memory is preferred it looks so soon after something began to be done, and prefers speed if that takes this share of the time. */
const SOON_MS = 50;
const MUCH = 0.25;

export interface MemorySaverOptions {
  readonly timers: Timers;
  /** Which share of the time since it was last asked the event loop was busy, from 0 to 1. */
  readonly busy: () => number;
  /** Calls back once, when something begins to be done. */
  readonly onActivity: (callback: () => void) => void;
  /** Has the runtime prefer little memory to speed from now on, or not any more. */
  readonly prefer: (littleMemory: boolean) => void;
}

/**
 * Gives memory back when there is little to do. V8 keeps what a load has left on its heap, because collecting it costs time: it would be
 * kept all night. Told that memory matters more, it collects in small steps, and returns what is free. While the server is busy it is not
 * told so: a message would cost twice as much, and a first sync too. So the end of the quiet is noticed at once; and when the memory is given
 * back, speed is preferred until there is something to give back again: who wakes a resting server is not made to wait. What a start
 * leaves is the first that is not kept.
 */
export class MemorySaver {
  readonly #options: MemorySaverOptions;
  readonly #timer: Timer;
  #isSaving = false;
  /** Looks in succession at which there was little to do. After a start, one is enough. */
  #quiet = QUIET_LOOKS - 1;
  /** Looks since memory is preferred. */
  #saving = 0;
  /** Milliseconds of work since memory was last given back. */
  #done = WORTH_MS;
  #soon: Timer | undefined;
  #isClosed = false;

  constructor(options: MemorySaverOptions) {
    this.#options = options;
    this.#timer = options.timers.every(LOOK_EVERY_MS, () => this.#look());
    options.prefer(false);
  }

  /** Looks no more. */
  close(): void {
    this.#isClosed = true;
    this.#timer.cancel();
    this.#soon?.cancel();
  }

  /** Waits for something to be done, without waking up to see that nothing is. */
  #watch(): void {
    const { busy, onActivity, timers } = this.#options;
    onActivity(() => {
      if (this.#isClosed || !this.#isSaving) return;
      // What was before does not count.
      busy();
      this.#soon = timers.after(SOON_MS, () => {
        this.#soon = undefined;
        if (!this.#isSaving) return;
        if (busy() < MUCH) this.#watch();
        else {
          this.#quiet = 0;
          this.#save(false);
        }
      });
    });
  }

  #look(): void {
    const share = this.#options.busy();
    this.#quiet = share < LITTLE ? this.#quiet + 1 : 0;
    if (this.#isSaving) {
      this.#saving += 1;
      if (this.#quiet === 0 || this.#saving >= SAVING_LOOKS) this.#save(false);
      return;
    }
    this.#done += share * LOOK_EVERY_MS;
    if (this.#quiet >= QUIET_LOOKS && this.#done >= WORTH_MS) this.#save(true);
  }

  #save(saves: boolean): void {
    if (saves === this.#isSaving) return;
    this.#isSaving = saves;
    this.#options.prefer(saves);
    if (!saves) return;
    this.#saving = 0;
    this.#done = 0;
    this.#watch();
  }
}
