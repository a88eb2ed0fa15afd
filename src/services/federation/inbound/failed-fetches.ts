import { LRUCache } from 'lru-cache';
import { atMost } from '#src/kernel/caches/at-most.ts';
import type { Clock } from '#src/kernel/clock.ts';

const REMEMBERED = 10_000;
const REMEMBERED_MS = 300_000;

/** Events that no server returned, or whose prev or auth events are missing: they are not requested again at once. */
export class FailedFetches {
  readonly #clock: Clock;
  readonly #until = new LRUCache<string, number>(atMost(REMEMBERED));

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  note(roomNid: number, eventId: string): void {
    this.#until.set(`${roomNid} ${eventId}`, this.#clock.now() + REMEMBERED_MS);
  }

  has(roomNid: number, eventId: string): boolean {
    return this.#clock.now() < (this.#until.get(`${roomNid} ${eventId}`) ?? 0);
  }
}
