import type { Timer, Timers } from '#src/kernel/timers.ts';

const TICK_MS = 1_000;

/** What the wheel turns. */
export interface HasHeartbeat {
  /** Called once per turn of the wheel. */
  beat(): void;
}

/** One timer for all sockets: each sits in one of the slots, of which one is called every second. */
export class HeartbeatWheel<T extends HasHeartbeat> {
  readonly #slots: readonly Set<T>[];
  readonly #places = new Map<T, Set<T>>();
  readonly #onTick: () => void;
  readonly #timer: Timer;
  #at = 0;

  /**
   * @param periodMs a whole number of seconds, in milliseconds: every member is called this often
   * @param onTick called every second, after the slot's members
   */
  constructor(timers: Timers, periodMs: number, onTick: () => void) {
    this.#slots = Array.from({ length: Math.max(1, Math.round(periodMs / TICK_MS)) }, () => new Set<T>());
    this.#onTick = onTick;
    this.#timer = timers.every(TICK_MS, () => this.#tick());
  }

  /** Those that come in the same second share a slot: a storm of connections is spread by the seconds that it takes. */
  add(member: T): void {
    const slot = this.#slots[this.#at];
    if (slot === undefined) return;
    slot.add(member);
    this.#places.set(member, slot);
  }

  delete(member: T): void {
    this.#places.get(member)?.delete(member);
    this.#places.delete(member);
  }

  stop(): void {
    this.#timer.cancel();
  }

  #tick(): void {
    this.#at = (this.#at + 1) % this.#slots.length;
    for (const member of this.#slots[this.#at] ?? []) member.beat();
    this.#onTick();
  }
}
