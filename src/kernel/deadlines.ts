import type { Timer, Timers } from './timers.ts';

/** A deadline that was set and can be called off. */
export class Deadline {
  /** Called when the time is over. Nothing once it is called off: the table of a `Set` that has grown keeps what was in it for a while. */
  onLate: (() => void) | undefined;
  /** Turns of the wheel that are left before it is due in its slot. */
  rounds: number;
  slot: Set<Deadline> | undefined;

  constructor(onLate: () => void, rounds: number, slot: Set<Deadline>) {
    this.onLate = onLate;
    this.rounds = rounds;
    this.slot = slot;
  }

  /** Calls it off; may be called again, and after it came. */
  cancel(): void {
    this.slot?.delete(this);
    this.slot = undefined;
    this.onLate = undefined;
  }
}

const SLOTS = 64;

/**
 * Deadlines that are nearly always called off (a body has arrived, an answer was read): one timer for all of them instead of one for each.
 * They come up to two ticks late, never early.
 */
export class Deadlines {
  readonly #timers: Timers;
  readonly #tickMs: number;
  readonly #slots: readonly Set<Deadline>[] = Array.from({ length: SLOTS }, () => new Set<Deadline>());
  #at = 0;
  #timer: Timer | undefined;

  constructor(timers: Timers, tickMs = 250) {
    this.#timers = timers;
    this.#tickMs = tickMs;
  }

  /** Calls `onLate` when `ms` milliseconds have passed and nobody called it off. */
  in(ms: number, onLate: () => void): Deadline {
    const ticks = Math.ceil(ms / this.#tickMs) + 1;
    const slot = this.#slots[(this.#at + ticks) % SLOTS] as Set<Deadline>;
    const deadline = new Deadline(onLate, Math.floor((ticks - 1) / SLOTS), slot);
    slot.add(deadline);
    this.#timer ??= this.#timers.every(this.#tickMs, () => this.#tick());
    return deadline;
  }

  #tick(): void {
    this.#at = (this.#at + 1) % SLOTS;
    const slot = this.#slots[this.#at] as Set<Deadline>;
    for (const deadline of slot) {
      if (deadline.rounds > 0) deadline.rounds -= 1;
      else {
        const { onLate } = deadline;
        deadline.cancel();
        onLate?.();
      }
    }
    // A server that has nothing to wait for does not wake up for it.
    if (this.#slots.every(({ size }) => size === 0)) {
      this.#timer?.cancel();
      this.#timer = undefined;
    }
  }
}
