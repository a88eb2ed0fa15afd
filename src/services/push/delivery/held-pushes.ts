import { Background } from '#src/kernel/concurrency/background.ts';
import type { Clock } from '#src/kernel/clock.ts';
import type { Timer, Timers } from '#src/kernel/timers.ts';
import type { PusherRef } from '#src/services/push/pushers/pusher-registry.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { PushRecord } from '#src/storage/push/pushes.ts';

/** Pushes that become due within so many milliseconds are processed together. */
const TOGETHER_MS = 50;
const PAGE = 500;
/** Most pushes held in memory, and bytes of their events; beyond that, they stay in the log and are read when their turn comes. */
export const MAX_HELD = 20_000;
export const MAX_HELD_BYTES = 32 * 1024 * 1024;
const RETRY_MS = 1_000;
/** After so many failures at the same place, pushes are processed one by one; after so many further failures, the next one is skipped. */
const TRIES_TOGETHER = 3;
const TRIES_ALONE = 3;
/** How many are then processed one by one: as many as may have been in the batch that failed. */
const ONE_BY_ONE = PAGE;

/** A push that waits until its grace period is over: the user may read the event meanwhile. */
export interface HeldPush {
  /** Its place among all pushes. */
  readonly position: number;
  /** When it is due, in milliseconds since the epoch. */
  readonly at: number;
  readonly about:
    | { readonly kind: 'event'; readonly room: Room; readonly event: StoredEvent }
    | { readonly kind: 'counts'; readonly pushers: readonly PusherRef[] };
}

/** A push with the time at which it is due. Counts are due at once, but wait for the events before them, since pushers get everything in order. */
export const heldPush = ({ pos, ts }: PushRecord, graceMs: number, about: HeldPush['about']): HeldPush => ({
  position: pos,
  at: about.kind === 'event' ? ts + graceMs : ts,
  about,
});

/** What a push takes beside its event. */
const OVERHEAD = 128;

/** Bytes that a push keeps in memory, about. */
const bytesOf = ({ about }: HeldPush): number => OVERHEAD + (about.kind === 'event' ? about.event.size : 0);

const bytesOfAll = (pushes: readonly HeldPush[]): number => pushes.reduce((sum, push) => sum + bytesOf(push), 0);

/** A page of pushes of the log. */
export interface LogPage {
  readonly pushes: readonly HeldPush[];
  /** The place of the last row of the page, even if it has no recipients any more; undefined for an empty page. */
  readonly last: number | undefined;
  /** Whether more may follow. */
  readonly isFull: boolean;
}

export interface HeldPushesOptions {
  readonly clock: Clock;
  readonly timers: Timers;
  /** Processes pushes that are due, in order. After a failure it may be given some of them again. */
  readonly tell: (pushes: readonly HeldPush[]) => Promise<void>;
  /** Reads the log after a place. */
  readonly read: (after: number, limit: number) => Promise<LogPage>;
  /** The place of the first push after a place; undefined when there is none. Reads the log alone. */
  readonly placeAfter: (position: number) => Promise<number | undefined>;
  /** Whether a failure is temporary and not caused by the push itself. */
  readonly isPassing: (err: unknown) => boolean;
  readonly onFailure: (err: unknown) => void;
  /** Called when a push has failed too often and is skipped. */
  readonly onSetAside: (position: number, err: unknown) => void;
}

/**
 * Holds pushes until their grace period is over, in the order of the log. A push is held once, not for each of its pushers, and one timer
 * serves all. A push that fails is tried a few times, in a batch and alone, and then skipped, so that it does not block the others.
 */
export class HeldPushes {
  readonly #options: HeldPushesOptions;
  /** In the order of their places. */
  #waiting: HeldPush[] = [];
  #bytes = 0;
  /** Later pushes than those in memory are in the log alone. */
  #isBehind = false;
  #taken = 0;
  #dueUpTo = 0;
  #told = 0;
  #timer: Timer | undefined;
  /** Failures in a row at the same place. */
  #failures = 0;
  #failedAt = 0;
  /** How many pushes are still processed one by one. */
  #oneByOne = 0;
  /** Whether one of them was skipped: those that fail after it are tried once, since they must not hold up the others again. */
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

  /** Pushes up to this place are due: they were processed, or are about to be. */
  get dueUpTo(): number {
    return this.#dueUpTo;
  }

  /** Pushes up to this place were processed. */
  get told(): number {
    return this.#told;
  }

  /** How many wait in memory. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** @param told the place up to which the last process processed the log */
  open(told: number): void {
    this.#taken = this.#dueUpTo = this.#told = told;
    this.#isBehind = true;
  }

  /** Starts with the pushes after that place. */
  start(): void {
    this.#background.wake();
  }

  /** Adds a push that was appended to the log. */
  add(push: HeldPush): void {
    if (this.#isBehind) return;
    const bytes = this.#bytes + bytesOf(push);
    if (this.#waiting.length >= MAX_HELD || (bytes > MAX_HELD_BYTES && this.#waiting.length > 0)) {
      this.#isBehind = true;
      return;
    }
    this.#waiting.push(push);
    this.#bytes = bytes;
    if (this.#timer === undefined) this.#background.wake();
  }

  /** Says that the log may have pushes that were not added: they are read from there. */
  fallBehind(): void {
    this.#isBehind = true;
    if (this.#timer === undefined) this.#background.wake();
  }

  /** Resolves when everything that is due was processed. */
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
        // From now on, pushers that are behind may read it from the log.
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
    const due = this.#waiting.splice(0, this.#oneByOne > 0 ? Math.min(end, 1) : end);
    this.#bytes = this.#waiting.length === 0 ? 0 : this.#bytes - bytesOfAll(due);
    return due;
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
    // A push that is added while the page is read may come after its end.
    this.#isBehind = false;
    const limit = this.#oneByOne > 0 ? 1 : PAGE;
    const { pushes, last = this.#taken, isFull } = await this.#options.read(this.#taken, limit);
    this.#isBehind ||= isFull;
    const later = isFull ? [] : this.#waiting.filter(({ position }) => position > last);
    this.#waiting = [...pushes, ...later];
    this.#bytes = bytesOfAll(this.#waiting);
    if (pushes.length > 0) return;
    // Rows without recipients are done.
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
    // No pusher is sent anything twice: its progress is stored.
    this.#waiting = [];
    this.#bytes = 0;
    this.#taken = this.#told;
    this.#isBehind = true;
  }
}
