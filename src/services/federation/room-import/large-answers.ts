import { setImmediate } from 'node:timers/promises';
import { LRUCache } from 'lru-cache';
import { atMost } from '#src/kernel/caches/at-most.ts';
import type { Clock } from '#src/kernel/clock.ts';
import { Gate } from '#src/kernel/limits/gate.ts';
import { LoopYield } from '#src/kernel/event-loop/loop-yield.ts';
import { SerialByKey } from '#src/kernel/concurrency/serial.ts';
import { LAST_RANK, type Turns } from '#src/kernel/event-loop/turns.ts';
import { DAY_MS } from '#src/kernel/dates.ts';
import { BadAnswerError, TooLongAnswerError } from './join-answer-splitter.ts';

export interface LargeAnswersOptions {
  readonly clock: Clock;
  /** Those in which requests begin. */
  readonly turns: Pick<Turns, 'resume'>;
}

/** What a server is asked for. */
export interface AnswerTopic {
  readonly server: string;
  readonly roomId: string;
  readonly request: 'send_join' | 'state';
}

/** An answer of a server, as it arrives. */
export interface ArrivingAnswer extends AnswerTopic {
  readonly body: AsyncIterator<Buffer>;
  /** Called with the number of bytes when a large response was useless. */
  readonly onUseless?: ((bytes: number) => void) | undefined;
  /** Aborted when the answer is not wanted any more. */
  readonly signal?: AbortSignal | undefined;
}

/** One of the places for large answers. */
interface Place {
  readonly leave: () => void;
  readonly left: Promise<void>;
}

/** How far an answer has been read. */
interface Progress {
  bytes: number;
  /** The body failed: the connection broke, or the timeout passed. */
  hasFailed: boolean;
  /** Milliseconds for which this server did not read it: it waited for a place or its turn, or what had come was used. */
  heldUpMs: number;
  /** It was ended because others waited. */
  hasMadePlace: boolean;
  place: Place | undefined;
}

interface Pause {
  /** By the monotonic clock. */
  readonly until: number;
  readonly lengthMs: number;
}

/** Bytes from which on an answer is large. */
export const LARGE_BYTES = 4 * 1024 * 1024;
/** Large answers that are read and used at once, one of each server: they are in memory as far as they are valid. */
export const CONCURRENCY = 4;
/** Bytes that are read in one turn of the event loop. */
const BYTES_AT_ONCE = 64 * 1024;
/** Minimum average speed of a response, after a grace period for the server to prepare it. */
export const SLOWEST_BYTES_PER_SECOND = 32 * 1024;
export const FIRST_MS = 30_000;
/** So slow an answer may be while others wait for its place: the largest one would hardly be here before its request times out. */
const SLOWEST_WANTED_BYTES_PER_SECOND = 384 * 1024;
const FIRST_WANTED_MS = 15_000;
/** Bytes of an answer from which on it matters that it was useless: the server is not asked for it for a while, longer each time. */
const COSTLY_BYTES = 8 * 1024 * 1024;
const FIRST_PAUSE_MS = 60_000;
/** First pause after a response that was too long: longer, because the room stays large. */
const FIRST_TOO_LONG_PAUSE_MS = 3_600_000;
const MAX_PAUSE_MS = DAY_MS;
/** Rooms of which a server gave useless answers in this time, from which on it is asked for none. */
const USELESS_ROOMS = 3;
const USELESS_ROOMS_MS = 3_600_000;
const MAX_SERVER_PAUSE_MS = 3_600_000;
const REMEMBERED_PAUSES = 10_000;

/**
 * Reads large responses without blocking other work: they take turns on the event loop with
 * other heavy requests, a few are read at once, one per server, each with a time limit. A server that gave a large useless response is not asked for it
 * again for a while; after several such rooms it is asked for none.
 */
export class LargeAnswers {
  readonly #options: LargeAnswersOptions;
  readonly #places = new Gate(CONCURRENCY);
  readonly #servers = new SerialByKey<string>();
  /** By server, request and room, and by server. */
  readonly #pauses = new LRUCache<string, Pause>(atMost(REMEMBERED_PAUSES));
  /** Rooms of which a server gave useless answers, with when it did, by server. */
  readonly #uselessRooms = new LRUCache<string, ReadonlyMap<string, number>>(atMost(REMEMBERED_PAUSES));

  constructor(options: LargeAnswersOptions) {
    this.#options = options;
  }

  /** Whether a server is not asked for something now, since what it answered before was large and useless. */
  isPaused(topic: AnswerTopic): boolean {
    const now = this.#options.clock.monotonic();
    return [topic.server, keyOf(topic)].some((key) => now < (this.#pauses.get(key)?.until ?? now));
  }

  /**
   * Has an answer read as there is time for it. When it is large, it has its place until `consume` is done.
   *
   * @param consume gets the pieces, and throws a BadAnswerError when the answer is useless
   * @throws BadAnswerError when it comes too slowly; what `consume` throws
   */
  async read<T>(answer: ArrivingAnswer, consume: (pieces: AsyncIterable<Buffer>) => Promise<T>): Promise<T> {
    const progress: Progress = { bytes: 0, hasFailed: false, heldUpMs: 0, hasMadePlace: false, place: undefined };
    try {
      const result = await consume(this.#pieces(answer, progress));
      this.#forget(answer);
      return result;
    } catch (error) {
      const isUseless = error instanceof BadAnswerError || (progress.hasFailed && progress.heldUpMs < FIRST_MS);
      if (isUseless && !progress.hasMadePlace && answer.signal?.aborted !== true && progress.bytes >= COSTLY_BYTES) {
        this.#blame(answer, error instanceof TooLongAnswerError);
        answer.onUseless?.(progress.bytes);
      }
      throw error;
    } finally {
      try {
        await answer.body.return?.();
      } finally {
        progress.place?.leave();
        await progress.place?.left;
      }
    }
  }

  async *#pieces({ body, server }: ArrivingAnswer, progress: Progress): AsyncGenerator<Buffer, void, undefined> {
    const { clock, turns } = this.#options;
    const loop = new LoopYield(BYTES_AT_ONCE, async () => {
      await setImmediate();
      await turns.resume({ party: server, rank: LAST_RANK });
    });
    let waitedMs = 0;
    const wanted = { bytes: 0, waitedMs: 0 };
    const next = async (): Promise<IteratorResult<Buffer, unknown>> => {
      try {
        return await body.next();
      } catch (error) {
        progress.hasFailed = true;
        throw error;
      }
    };
    try {
      for (;;) {
        const asked = clock.monotonic();
        const isWanted = progress.place !== undefined && this.#places.waiting > 0;
        const { done, value } = await next();
        if (done === true) return;
        const tookMs = clock.monotonic() - asked;
        waitedMs += tookMs;
        progress.bytes += value.length;
        if (isSlow(progress.bytes, waitedMs - FIRST_MS, SLOWEST_BYTES_PER_SECOND))
          throw new BadAnswerError('The answer comes too slowly.');
        if (isWanted) {
          wanted.waitedMs += tookMs;
          wanted.bytes += value.length;
          if (isSlow(wanted.bytes, wanted.waitedMs - FIRST_WANTED_MS, SLOWEST_WANTED_BYTES_PER_SECOND)) {
            progress.hasMadePlace = true;
            throw new BadAnswerError('The answer comes too slowly while others wait.');
          }
        }
        const came = clock.monotonic();
        yield value;
        await loop.after(value.length);
        if (progress.bytes >= LARGE_BYTES && progress.place === undefined) progress.place = await this.#enter(server);
        progress.heldUpMs += clock.monotonic() - came;
      }
    } finally {
      await body.return?.();
    }
  }

  /** A useful response clears the record of its server. */
  #forget(topic: AnswerTopic): void {
    this.#pauses.delete(keyOf(topic));
    this.#pauses.delete(topic.server);
    this.#uselessRooms.delete(topic.server);
  }

  #blame(topic: AnswerTopic, isTooLong: boolean): void {
    const { roomId, server } = topic;
    this.#pause(keyOf(topic), isTooLong ? FIRST_TOO_LONG_PAUSE_MS : FIRST_PAUSE_MS, MAX_PAUSE_MS);
    // The server is not at fault for a room that is too large.
    if (isTooLong) return;
    const now = this.#options.clock.monotonic();
    const before = [...(this.#uselessRooms.get(server) ?? [])].filter(([, at]) => now - at < USELESS_ROOMS_MS);
    const rooms = new Map([...before, [roomId, now]]);
    if (rooms.size < USELESS_ROOMS) this.#uselessRooms.set(server, rooms);
    else {
      this.#uselessRooms.delete(server);
      this.#pause(server, FIRST_PAUSE_MS, MAX_SERVER_PAUSE_MS);
    }
  }

  #pause(key: string, firstMs: number, maxMs: number): void {
    const before = this.#pauses.get(key);
    const lengthMs = Math.min(Math.max(firstMs, 2 * (before?.lengthMs ?? 0)), maxMs);
    this.#pauses.set(key, { until: this.#options.clock.monotonic() + lengthMs, lengthMs });
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

const keyOf = ({ request, roomId, server }: AnswerTopic): string => `${server} ${request} ${roomId}`;

const isSlow = (bytes: number, ms: number, bytesPerSecond: number): boolean => ms > (bytes / bytesPerSecond) * 1_000;
