import { Background } from '#src/kernel/background.ts';
import type { Clock } from '#src/kernel/clock.ts';
import type { Timer, Timers } from '#src/kernel/timers.ts';
import type { PusherRef } from '#src/services/push/pushers/pusher-registry.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { PushRecord } from '#src/storage/push/pushes.ts';

/** What becomes due within so many milliseconds is handed on together. */
const TOGETHER_MS = 50;
const PAGE = 500;
/** Most pushes held in memory; beyond that, they stay in the log and are read when their turn comes. */
const MAX_HELD = 20_000;
const RETRY_MS = 1_000;
/** After so many failures at the same place, what follows is handed on one by one; so many later, the next one is passed over. */
const TRIES_TOGETHER = 3;
const TRIES_ALONE = 3;
/** How many are handed on one by one then: as many as may have been in what failed. */
const ONE_BY_ONE = PAGE;

/** A push that is handed on when it has waited long enough to have been read. */
export interface HeldPush {
  /** Its place among all pushes. */
  readonly position: number;
  /** From when on it is told, in milliseconds. */
  readonly at: number;
  readonly about:
    | { readonly kind: 'event'; readonly room: Room; readonly event: StoredEvent }
    | { readonly kind: 'counts'; readonly pushers: readonly PusherRef[] };
}

/** A push with the time at which it is due. Counts are due at once, but wait for the events before them: pushers are told everything in order. */
export const heldPush = ({ pos, ts }: PushRecord, graceMs: number, about: HeldPush['about']): HeldPush => ({
  position: pos,
  at: about.kind === 'event' ? ts + graceMs : ts,
  about,
});

/** Pushes out of the log. */
export interface LogPage {
  readonly pushes: readonly HeldPush[];
  /** The place of the last one of the page, be it that it is told to nobody any more; undefined when there is none. */
  readonly last: number | undefined;
  /** Whether more may follow. */
  readonly isFull: boolean;
}

export interface HeldPushesOptions {
  readonly clock: Clock;
  readonly timers: Timers;
  /** Hands on what is due, in order. Hears some of it again after a failure. */
  readonly tell: (pushes: readonly HeldPush[]) => Promise<void>;
  /** Reads what comes after a place from the log. */
  readonly read: (after: number, limit: number) => Promise<LogPage>;
  /** Says what place the first push after a place has; undefined when there is none. Reads nothing but the log. */
  readonly placeAfter: (position: number) => Promise<number | undefined>;
  /** Whether the reason of a failure passes, whatever the push is like that it happened at. */
  readonly isPassing: (err: unknown) => boolean;
  readonly onFailure: (err: unknown) => void;
  /** Hears that a push could not be handed on again and again, and is passed over. */
  readonly onSetAside: (position: number, err: unknown) => void;
}

/**
 * Has each push wait for its time, in the order of the log. A push waits here once, not for each pusher that is told of it, and one timer
 * waits for all. A push that cannot be handed on is tried a few times, together with others and alone, and then passed over: it does not
 * keep the others waiting.
 */
export class HeldPushes {
  readonly #options: HeldPushesOptions;
  /** In the order of their places. */
  #waiting: HeldPush[] = [];
  /** What comes after all that was taken and all that waits is in the log alone. */
  #isBehind = false;
  #taken = 0;
  #dueUpTo = 0;
  #told = 0;
  #timer: Timer | undefined;
  /** Failures in a row at the same place. */
  #failures = 0;
  #failedAt = 0;
  /** How many pushes are still handed on one by one. */
  #oneByOne = 0;
  /** Whether one of them was passed over: those that fail after it are tried once, since they must not hold up the others again. */
  #hasPassedOver = false;
  readonly #background: Background;

  constructor(options: HeldPushesOptions) {
    this.#options = options;
    this.#background = new Background(
      'push grace period',
      () => this.#work(),
      (err) => {
        options.onFailure(err);
        this.#readAgain();
        this.#wakeAfter(RETRY_MS, options.timers);
      },
    );
  }

  /** What comes up to this place is due: it was handed on, or is about to be. */
  get dueUpTo(): number {
    return this.#dueUpTo;
  }

  /** What comes up to this place was handed on. */
  get told(): number {
    return this.#told;
  }

  /** How many wait in memory. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Says up to where the log was handed on by the last process. */
  open(told: number): void {
    this.#taken = this.#dueUpTo = this.#told = told;
    this.#isBehind = true;
  }

  /** Begins with what comes after that. */
  start(): void {
    this.#background.wake();
  }

  /** Adds what was put at the end of the log. */
  add(push: HeldPush): void {
    if (this.#isBehind) return;
    if (this.#waiting.length >= MAX_HELD) {
      this.#isBehind = true;
      return;
    }
    this.#waiting.push(push);
    if (this.#timer === undefined) this.#background.wake();
  }

  /** Says that something may be in the log that was not added: it is read from there. */
  fallBehind(): void {
    this.#isBehind = true;
    if (this.#timer === undefined) this.#background.wake();
  }

  /** Resolves when everything that is due was handed on. */
  idle(): Promise<void> {
    return this.#background.idle();
  }

  close(): Promise<void> {
    this.#timer?.cancel();
    return this.#background.close();
  }

  async #work(): Promise<void> {
    try {
      await this.#handOn();
    } catch (err) {
      if (this.#options.isPassing(err)) throw err;
      await this.#failed(err);
    }
  }

  async #handOn(): Promise<void> {
    this.#timer?.cancel();
    this.#timer = undefined;
    while (!this.#background.isClosed) {
      const due = this.#takeDue();
      const last = due.at(-1);
      if (last !== undefined) {
        // From now on it may be read from the log as well, by those who are not told of it here since they are behind.
        this.#taken = last.position;
        this.#dueUpTo = Math.max(this.#dueUpTo, this.#taken);
        await this.#options.tell(due);
        this.#told = Math.max(this.#told, this.#taken);
        this.#wasAlone();
      } else if (this.#waiting.length > 0) return this.#expectNext();
      else if (this.#isBehind) await this.#readOn();
      else return;
    }
  }

  #takeDue(): readonly HeldPush[] {
    const now = this.#options.clock.now();
    const later = this.#waiting.findIndex(({ at }) => at > now);
    const end = later === -1 ? this.#waiting.length : later;
    return this.#waiting.splice(0, this.#oneByOne > 0 ? Math.min(end, 1) : end);
  }

  #expectNext(): void {
    const { clock, timers } = this.#options;
    const first = this.#waiting[0]?.at ?? 0;
    let at = first;
    for (const push of this.#waiting) {
      if (push.at - first >= TOGETHER_MS) break;
      at = Math.max(at, push.at);
    }
    this.#wakeAfter(at - clock.now(), timers);
  }

  #wakeAfter(ms: number, timers: Timers): void {
    if (this.#background.isClosed) return;
    this.#timer = timers.after(ms, () => this.#background.wake());
  }

  async #readOn(): Promise<void> {
    // What is added meanwhile may come after the end of the page.
    this.#isBehind = false;
    const limit = this.#oneByOne > 0 ? 1 : PAGE;
    const { pushes, last = this.#taken, isFull } = await this.#options.read(this.#taken, limit);
    this.#isBehind ||= isFull;
    const later = isFull ? [] : this.#waiting.filter(({ position }) => position > last);
    this.#waiting = [...pushes, ...later];
    if (pushes.length > 0) return;
    // What is told to nobody any more lies behind us.
    if (last > this.#taken) this.#wasAlone();
    this.#taken = this.#dueUpTo = this.#told = Math.max(this.#told, last);
  }

  #wasAlone(): void {
    if (this.#oneByOne === 0) return;
    this.#oneByOne -= 1;
    if (this.#oneByOne === 0) this.#hasPassedOver = false;
  }

  /** @throws what the log throws when it cannot be read */
  async #failed(err: unknown): Promise<void> {
    const { onFailure, onSetAside, placeAfter, timers } = this.#options;
    this.#failures = this.#failedAt === this.#told ? this.#failures + 1 : 1;
    this.#failedAt = this.#told;
    this.#readAgain();
    const tries = this.#hasPassedOver ? 1 : TRIES_ALONE;
    if (this.#oneByOne > 0 && this.#failures >= tries) {
      const position = await placeAfter(this.#told);
      if (position !== undefined) {
        onSetAside(position, err);
        this.#taken = this.#told = position;
        this.#dueUpTo = Math.max(this.#dueUpTo, position);
        this.#hasPassedOver = true;
        this.#wasAlone();
        this.#background.wake();
        return;
      }
    }
    onFailure(err);
    if (this.#oneByOne === 0 && this.#failures >= TRIES_TOGETHER) {
      this.#oneByOne = ONE_BY_ONE;
      this.#failures = 0;
    }
    this.#wakeAfter(RETRY_MS, timers);
  }

  #readAgain(): void {
    // Who was told of some of it already is not told again: each pusher knows how far it has come.
    this.#waiting = [];
    this.#taken = this.#told;
    this.#isBehind = true;
  }
}
