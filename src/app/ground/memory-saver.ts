import type { Timer, Timers } from '#src/kernel/timers.ts';

const LOOK_EVERY_MS = 2_000;
/** Successive checks with little to do, before memory is preferred. */
const QUIET_LOOKS = 3;
/** Checks for which memory is preferred: giving it back takes as long. */
const SAVING_LOOKS = 15;
/** Milliseconds of work after which there is memory to give back again. */
const WORTH_MS = 1_000;
/** Share of the time that a server with little to do is busy. */
const LITTLE = 0.1;
/** While memory is preferred, it checks so soon after work began, and prefers speed if that takes this share of the time. */
const SOON_MS = 50;
const MUCH = 0.25;

export interface MemorySaverOptions {
  readonly timers: Timers;
  /** Which share of the time since it was last asked the event loop was busy, from 0 to 1. */
  readonly busy: () => number;
  /** Calls back once, when work begins. */
  readonly onActivity: (callback: () => void) => void;
  /** Has the runtime prefer memory to speed from now on, or not any more. */
  readonly prefer: (littleMemory: boolean) => void;
}

/**
 * Gives memory back when there is little to do. V8 keeps what a load has left on its heap, because collecting it costs time: it could be
 * kept all night. Told that memory matters more, it collects in small steps and returns free memory. A busy server does not tell it
 * so: a message would cost twice as much, and a first sync too. So the end of the quiet is noticed at once; and when the memory is given
 * back, speed is preferred until there is memory to give back again: a request to a resting server does not wait. What a start
 * leaves is given back first.
 */
export class MemorySaver {
  readonly #options: MemorySaverOptions;
  readonly #timer: Timer;
  #isSaving = false;
  /** Successive checks with little to do. After a start, one is enough. */
  #quiet = QUIET_LOOKS - 1;
  /** Checks since memory is preferred. */
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

  /** Stops checking. */
  close(): void {
    this.#isClosed = true;
    this.#timer.cancel();
    this.#soon?.cancel();
  }

  /** Waits for work without waking up in vain. */
  #watch(): void {
    const { busy, onActivity, timers } = this.#options;
    onActivity(() => {
      if (this.#isClosed || !this.#isSaving) return;
      // Work before this does not count.
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
