import { TimedBackground } from '#src/kernel/concurrency/timed-background.ts';
import type { Logger } from '#src/kernel/logger.ts';
import { LoopYield } from '#src/kernel/event-loop/loop-yield.ts';
import type { Timers } from '#src/kernel/timers.ts';
import {
  type Edu,
  type EduSource,
  ephemeralEdus,
  NO_EDUS,
  type TakenEdus,
} from '#src/services/federation/outbound/edu-source.ts';
import { NewestItems } from '#src/services/federation/outbound/newest-items.ts';

/** Items that are assigned to their servers together, and servers of them in one turn of the event loop. */
const ITEMS_AT_ONCE = 200;
const PAIRS_IN_A_TURN = 5_000;
const RETRY_MS = 1_000;

export interface GatheredEdusOptions<Item extends object> {
  /** Names the work in logs and metrics: what kind of EDU it is. */
  readonly name: string;
  /** For so many milliseconds items are gathered. */
  readonly gatherMs: number;
  /** Items that wait for one server, and for one that cannot be reached: beyond that the oldest are dropped. */
  readonly most: number;
  readonly mostWhileAway: number;
  /** Items of one transaction. */
  readonly mostTaken: number;
  /** The servers that some items are for. */
  readonly serversOf: (items: readonly Item[]) => Promise<(item: Item) => Iterable<string>>;
  /** Writes items, so many EDUs at most. @returns what did not fit in as well */
  readonly write: (
    items: readonly Item[],
    limit: number,
  ) => { readonly edus: readonly Edu[]; readonly left?: ReadonlySet<Item> };
  readonly timers: Timers;
  readonly logger: Logger;
  readonly wake: (destination: string) => void;
}

/**
 * EDUs of the moment, in memory only: what changes is gathered for a while, and then waits for each of its servers, the newest for each key and so
 * many keys at most.
 */
export class GatheredEdus<Item extends object> implements EduSource {
  readonly #options: GatheredEdusOptions<Item>;
  readonly #waiting: NewestItems<Item>;
  readonly #gathered = new Map<string, Item>();
  readonly #assigning: TimedBackground;

  constructor(options: GatheredEdusOptions<Item>) {
    this.#options = options;
    this.#waiting = new NewestItems(options.most);
    this.#assigning = new TimedBackground(
      `federation ${options.name}`,
      () => this.#assign(),
      (err) => {
        options.logger.error('EDUs could not be assigned to the servers of their rooms; trying again', {
          edus: options.name,
          err,
        });
        this.#assigning.wakeAfter(RETRY_MS);
      },
      options.timers,
    );
  }

  /** Something is to be sent to all whom it concerns. @param key what a later item takes the place of */
  gather(key: string, item: Item): void {
    this.#gathered.delete(key);
    this.#gathered.set(key, item);
    if (this.#options.gatherMs === 0) this.#assigning.wake();
    else this.#assigning.wakeAfter(this.#options.gatherMs);
  }

  /** Something is to be sent to one server. `wake` is left to the caller. */
  put(destination: string, key: string, item: Item): void {
    this.#waiting.put(destination, key, item);
  }

  has(destination: string): boolean {
    return this.#waiting.has(destination);
  }

  take(destination: string, limit: number): Promise<TakenEdus> {
    const taken = limit === 0 ? undefined : this.#waiting.take(destination, this.#options.mostTaken);
    if (taken === undefined) return Promise.resolve(NO_EDUS);
    const { edus, left } = this.#options.write(taken.items, limit);
    if (edus.length > 0) return Promise.resolve(ephemeralEdus(edus, () => taken.delivered(left)));
    taken.delivered(left);
    return Promise.resolve(NO_EDUS);
  }

  away(destination: string): void {
    const { mostWhileAway } = this.#options;
    if (mostWhileAway === 0) this.#waiting.forget(destination);
    else this.#waiting.shrink(destination, mostWhileAway);
  }

  skip(destination: string): void {
    this.#waiting.forget(destination);
  }

  forget(destination: string): void {
    this.#waiting.forget(destination);
  }

  /** Resolves when what was gathered waits for its servers. */
  idle(): Promise<void> {
    return this.#assigning.flush();
  }

  close(): Promise<void> {
    return this.#assigning.close();
  }

  async #assign(): Promise<void> {
    const turns = new LoopYield(PAIRS_IN_A_TURN);
    while (this.#gathered.size > 0 && !this.#assigning.isClosed) {
      const some = [...this.#gathered].slice(0, ITEMS_AT_ONCE);
      const serversOf = await this.#options.serversOf(some.map(([, item]) => item));
      const destinations = new Set<string>();
      for (const [key, item] of some) {
        // What came meanwhile takes its place.
        if (this.#gathered.get(key) !== item) continue;
        this.#gathered.delete(key);
        let pairs = 0;
        for (const server of serversOf(item)) {
          this.#waiting.put(server, key, item);
          destinations.add(server);
          pairs += 1;
        }
        const turn = turns.after(pairs);
        if (turn !== undefined) await turn;
      }
      for (const destination of destinations) this.#options.wake(destination);
    }
  }
}
