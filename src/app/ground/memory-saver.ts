import { performance } from 'node:perf_hooks';
import { setFlagsFromString } from 'node:v8';
import { systemTimers, type Timer, type Timers } from '#src/kernel/timers.ts';
import { trail } from '#src/kernel/event-loop/work.ts';

const LOOK_EVERY_MS = 2_000;
/** Successive checks with little to do, before memory is preferred. */
const QUIET_LOOKS = 3;
/** Checks for which memory is preferred: giving it back takes as long. */
const SAVING_LOOKS = 15;
/** Milliseconds of work after which there is memory to give back again; and so many are enough while nothing at all is done. */
const WORTH_MS = 1_000;
const WORTH_AT_REST_MS = 150;
/** Share of the time that a server with little to do is busy, and one with nothing to do. */
const LOW_SHARE = 0.1;
const IDLE_SHARE = 0.02;
/** While memory is preferred, it checks so soon after work began, and prefers speed if that takes this share of the time. */
const SOON_MS = 50;
const MUCH = 0.25;

export interface MemorySaverOptions {
  readonly timers: Timers;
  /** Which share of the time since it was last asked the event loop was busy, from 0 to 1. */
  readonly busy: () => number;
  /** Calls back once, when work begins. */
  readonly onActivity: (callback: () => void) => Timer;
  /** Lets go of what can be made again. */
  readonly release: () => void;
  /** Has the runtime prefer memory to speed from now on, or not any more. */
  readonly prefer: (littleMemory: boolean) => void;
}

/**
 * Gives memory back when there is little to do. V8 keeps what a load has left on its heap, because collecting it costs time: it could be
 * kept all night. Told that memory matters more, it collects in small steps and returns free memory. A busy server does not tell it
 * so: a message would cost twice as much, and a first sync too. So the end of the quiet is noticed at once; and when the memory is given
 * back, speed is preferred until there is memory to give back again: a request to a resting server does not wait. A short burst of
 * requests leaves memory as well, young generation first: it is given back when nothing was done for a while. What a start leaves is given back
 * first.
 */
export class MemorySaver {
  readonly #options: MemorySaverOptions;
  readonly #timer: Timer;
  #isSaving = false;
  /** Successive checks with little to do. After a start, one is enough. */
  #quiet = QUIET_LOOKS - 1;
  /** Successive checks with nothing to do. */
  #resting = 0;
  /** Checks since memory is preferred. */
  #saving = 0;
  /** Milliseconds of work since memory was last given back, all of it. */
  #done = WORTH_MS;
  #soon: Timer | undefined;
  /** Waits for work. */
  #watching: Timer | undefined;

  constructor(options: MemorySaverOptions) {
    this.#options = options;
    this.#timer = options.timers.every(LOOK_EVERY_MS, () => this.#look());
    options.prefer(false);
  }

  /** Stops checking. */
  close(): void {
    this.#timer.cancel();
    this.#watching?.cancel();
    this.#soon?.cancel();
  }

  /** Waits for work without waking up in vain. */
  #watch(): void {
    const { busy, onActivity, timers } = this.#options;
    this.#watching?.cancel();
    this.#watching = onActivity(() => {
      if (!this.#isSaving) return;
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
    this.#quiet = share < LOW_SHARE ? this.#quiet + 1 : 0;
    this.#resting = share < IDLE_SHARE ? this.#resting + 1 : 0;
    if (this.#isSaving) {
      this.#saving += 1;
      if (this.#saving >= SAVING_LOOKS) this.#done = 0;
      // Cut short, it begins again when it is quiet.
      if (this.#quiet === 0 || this.#saving >= SAVING_LOOKS) this.#save(false);
      return;
    }
    // What a resting server does (a ping, a health check) is done again and again, and leaves nothing.
    if (share >= IDLE_SHARE) this.#done += share * LOOK_EVERY_MS;
    const worth = this.#resting >= QUIET_LOOKS ? WORTH_AT_REST_MS : WORTH_MS;
    if (this.#quiet >= QUIET_LOOKS && this.#done >= worth) this.#save(true);
  }

  #save(saves: boolean): void {
    if (saves === this.#isSaving) return;
    this.#isSaving = saves;
    this.#options.prefer(saves);
    if (!saves) return;
    this.#saving = 0;
    this.#options.release();
    this.#watch();
  }
}

/** By how much the old generation may grow before it is collected, in percent: while memory is given back, and otherwise. */
const RESTING_GROWTH = 40;
const BUSY_GROWTH = 70;

/** Has V8 prefer memory to speed, or not. docs/decisions/0015-memory-and-rest.md */
const preferMemory = (littleMemory: boolean): void => {
  setFlagsFromString(littleMemory ? '--memory-saver-mode' : '--no-memory-saver-mode');
  setFlagsFromString(`--heap-growing-percent=${littleMemory ? RESTING_GROWTH : BUSY_GROWTH}`);
};

/** A `MemorySaver` of this process. @param release frees what can be made again */
export const saveMemory = (release: () => void): MemorySaver => {
  let before = performance.eventLoopUtilization();
  return new MemorySaver({
    // The event loop uses the machine's clock, whatever clock the services use.
    timers: systemTimers,
    busy: () => {
      const now = performance.eventLoopUtilization();
      const { utilization } = performance.eventLoopUtilization(now, before);
      before = now;
      return utilization;
    },
    onActivity: (callback) => trail.rest(callback),
    release,
    prefer: preferMemory,
  });
};
