import type { Metrics } from '#src/kernel/metrics.ts';
import { aborted } from '#src/kernel/concurrency/or-aborted.ts';
import { type Share, SharedBudget, Shares } from '#src/kernel/limits/shared-budget.ts';
import { currentWork } from '#src/kernel/event-loop/work.ts';

/** Bytes of answers of other servers that are in memory at once, and how many of them may be for one user or server. */
export const MAX_ANSWER_BYTES = 64 * 1024 * 1024;
export const MAX_ANSWER_BYTES_OF_PARTY = 32 * 1024 * 1024;
/** Smaller ones are not counted: as many as may be read at once do no harm. */
export const SMALL_ANSWER = 16 * 1024;

interface Waiting {
  readonly held: HeldAnswers;
  readonly bytes: number;
  /** Ends the waiting. */
  readonly end: (isLetIn: boolean) => void;
}

/** The memory for answers of other servers: one budget, of which no party for which they are asked gets so much that nothing is left for others. */
export class AnswerBytes {
  readonly #budget = new SharedBudget(MAX_ANSWER_BYTES);
  readonly #parties = new Shares(MAX_ANSWER_BYTES_OF_PARTY);
  readonly #waiting = new Set<Waiting>();

  constructor(metrics: Metrics) {
    metrics.gaugeOf(
      'tsudoi_federation_answer_bytes',
      'bytes of answers of other servers that are in memory',
      () => this.#budget.used,
    );
    metrics.gaugeOf(
      'tsudoi_federation_answers_waiting',
      'answers of other servers that wait until there is memory for them',
      () => this.#waiting.size,
    );
  }

  /** Bytes that are held. */
  get used(): number {
    return this.#budget.used;
  }

  /**
   * Begins to count the bytes of answers. They count for the user or server whose request is being worked on.
   *
   * @param most bytes that they may be together
   * @param otherwise for whom they count where nobody's request is being worked on
   */
  open(most: number, otherwise = ''): HeldAnswers {
    return new HeldAnswers(this, currentWork()?.party?.() ?? otherwise, most);
  }

  /** Used by `HeldAnswers` alone. */
  shareOf(party: string): Share {
    return this.#parties.of(party);
  }

  /** Used by `HeldAnswers` alone. */
  take(bytes: number, share: Share): boolean {
    return this.#budget.take(bytes, share);
  }

  /** Used by `HeldAnswers` alone. @returns whether there was room before it was given up */
  wait(held: HeldAnswers, bytes: number, signal: AbortSignal): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const waiting: Waiting = { held, bytes, end: resolve };
    this.#waiting.add(waiting);
    // Who was let in at the same time has taken the bytes.
    void aborted(signal).then(() => {
      if (this.#waiting.delete(waiting)) resolve(false);
    });
    return promise;
  }

  /** Used by `HeldAnswers` alone: nothing that waits for these is let in any more. */
  leave(held: HeldAnswers): void {
    for (const waiting of this.#waiting) {
      if (waiting.held !== held) continue;
      this.#waiting.delete(waiting);
      waiting.end(false);
    }
  }

  /** Used by `HeldAnswers` alone: those who wait and find room now get it, in the order in which they came. */
  give(bytes: number, share: Share): void {
    this.#budget.give(bytes, share);
    for (const waiting of this.#waiting) {
      if (!waiting.held.takeNow(waiting.bytes)) continue;
      this.#waiting.delete(waiting);
      waiting.end(true);
    }
  }
}

/** The bytes of the answers that one piece of work asks for. */
export class HeldAnswers {
  /** Bytes that they may be together. */
  readonly most: number;
  readonly #of: AnswerBytes;
  readonly #party: string;
  #bytes = 0;
  #share: Share | undefined;
  #isReleased = false;

  constructor(of: AnswerBytes, party: string, most: number) {
    this.#of = of;
    this.#party = party;
    this.most = most;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Takes more bytes, as soon as there is room for them.
   *
   * @param signal ends the waiting
   * @returns false when there is none: it would be more than they, or those of a party, may be together, or it was given up, or they were released
   */
  async take(bytes: number, signal: AbortSignal): Promise<boolean> {
    if (signal.aborted || this.#isReleased) return false;
    if (this.#bytes + bytes > Math.min(this.most, MAX_ANSWER_BYTES_OF_PARTY)) return false;
    return this.takeNow(bytes) || this.#of.wait(this, bytes, signal);
  }

  /** @returns false when there is no room at the moment, or they were released */
  takeNow(bytes: number): boolean {
    if (this.#isReleased) return false;
    const share = this.#share ?? this.#of.shareOf(this.#party);
    if (this.#bytes + bytes > this.most || !this.#of.take(bytes, share)) return false;
    this.#share = share;
    this.#bytes += bytes;
    return true;
  }

  /** Gives bytes back, unless they were released. */
  give(bytes: number): void {
    const share = this.#share;
    if (share === undefined || bytes === 0) return;
    this.#bytes -= bytes;
    if (this.#bytes === 0) this.#share = undefined;
    this.#of.give(bytes, share);
  }

  /**
   * Gives everything back, and takes nothing any more: a response may still be read when the one who asked for it is done, and nobody would give
   * back what it takes. May be called again.
   */
  release(): void {
    this.#isReleased = true;
    this.#of.leave(this);
    this.give(this.#bytes);
  }
}
