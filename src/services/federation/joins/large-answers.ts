import { setImmediate } from 'node:timers/promises';
import { LRUCache } from 'lru-cache';
import { atMost } from '#src/kernel/at-most.ts';
import type { Clock } from '#src/kernel/clock.ts';
import { Gate } from '#src/kernel/gate.ts';
import { LoopYield } from '#src/kernel/loop-yield.ts';
import { SerialByKey } from '#src/kernel/serial.ts';
import { LAST_RANK, type Turns } from '#src/kernel/turns.ts';
import { BadAnswerError } from './join-answer-splitter.ts';

export interface LargeAnswersOptions {
  readonly clock: Clock;
  /** Those in which requests begin. */
  readonly turns: Pick<Turns, 'resume'>;
}

/** An answer of a server, as it arrives. */
export interface ArrivingAnswer {
  readonly server: string;
  readonly body: AsyncIterator<Buffer>;
  /** Called with its bytes when there were many for nothing. */
  readonly onUseless?: ((bytes: number) => void) | undefined;
}

/** One of the places for large answers. */
interface Place {
  readonly leave: () => void;
  readonly left: Promise<void>;
}

/** Bytes from which on an answer is large. */
const LARGE_BYTES = 4 * 1024 * 1024;
/** Large answers that are read at once, one of each server: they are in memory as far as they are valid. */
const AT_ONCE = 4;
/** Bytes that are read in one turn of the event loop. */
const BYTES_AT_ONCE = 64 * 1024;
/** So slow an answer may be on average, after a first time in which its server may read what it has to say. */
const SLOWEST_BYTES_PER_SECOND = 32 * 1024;
const FIRST_MS = 30_000;
/** Bytes of an answer from which on it matters that it was useless: the server is left alone for a while, longer each time. */
const COSTLY_BYTES = 8 * 1024 * 1024;
const FIRST_PAUSE_MS = 60_000;
const MAX_PAUSE_MS = 3_600_000;
const REMEMBERED_SERVERS = 5_000;

/**
 * Reads answers that may be as large as the state of a room without holding up anything else: they take turns on the event loop with those who
 * ask for much, a few are read at once, of each server one, and none for ever. A server whose large answers are useless is not asked for a while.
 */
export class LargeAnswers {
  readonly #options: LargeAnswersOptions;
  readonly #places = new Gate(AT_ONCE);
  readonly #servers = new SerialByKey<string>();
  readonly #pauses = new LRUCache<string, { readonly until: number; readonly lengthMs: number }>(
    atMost(REMEMBERED_SERVERS),
  );

  constructor(options: LargeAnswersOptions) {
    this.#options = options;
  }

  /** Whether a server is not asked now, since what it answered before was large and useless. */
  isPaused(server: string): boolean {
    return this.#options.clock.now() < (this.#pauses.get(server)?.until ?? 0);
  }

  /**
   * Has an answer read as there is time for it.
   *
   * @param consume gets the pieces, and throws when the answer is useless
   * @throws BadAnswerError when it comes too slowly; what `consume` throws
   */
  async read<T>(
    { body, onUseless, server }: ArrivingAnswer,
    consume: (pieces: AsyncIterable<Buffer>) => Promise<T>,
  ): Promise<T> {
    const size = { bytes: 0 };
    try {
      const result = await consume(this.#pieces(server, body, size));
      this.#pauses.delete(server);
      return result;
    } catch (error) {
      if (error instanceof BadAnswerError && size.bytes >= COSTLY_BYTES) {
        this.#pause(server);
        onUseless?.(size.bytes);
      }
      throw error;
    }
  }

  async *#pieces(
    server: string,
    body: AsyncIterator<Buffer>,
    size: { bytes: number },
  ): AsyncGenerator<Buffer, void, undefined> {
    const { clock, turns } = this.#options;
    const loop = new LoopYield(BYTES_AT_ONCE, async () => {
      await setImmediate();
      await turns.resume({ party: server, rank: LAST_RANK });
    });
    let waitedMs = 0;
    let place: Place | undefined;
    try {
      for (;;) {
        const asked = clock.monotonic();
        const { done, value } = await body.next();
        if (done === true) return;
        waitedMs += clock.monotonic() - asked;
        size.bytes += value.length;
        if (waitedMs > FIRST_MS + (size.bytes / SLOWEST_BYTES_PER_SECOND) * 1_000)
          throw new BadAnswerError('The answer comes too slowly.');
        yield value;
        await loop.after(value.length);
        if (size.bytes >= LARGE_BYTES) place ??= await this.#enter(server);
      }
    } finally {
      await body.return?.();
      place?.leave();
      await place?.left;
    }
  }

  #pause(server: string): void {
    const before = this.#pauses.get(server);
    const lengthMs = Math.min(before === undefined ? FIRST_PAUSE_MS : 2 * before.lengthMs, MAX_PAUSE_MS);
    this.#pauses.set(server, { until: this.#options.clock.now() + lengthMs, lengthMs });
  }

  async #enter(server: string): Promise<Place> {
    const { promise: entered, resolve: enter } = Promise.withResolvers<void>();
    const { promise: isOver, resolve: leave } = Promise.withResolvers<void>();
    const hold = (): Promise<void> => {
      enter();
      return isOver;
    };
    const left = this.#servers.run(server, () => this.#places.run(hold));
    await entered;
    return { leave, left };
  }
}
