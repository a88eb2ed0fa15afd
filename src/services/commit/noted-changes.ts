import { Ongoing } from '#src/kernel/concurrency/background.ts';
import type { Logger } from '#src/kernel/logger.ts';
import { Signal } from '#src/kernel/signal.ts';
import { TimedBackground } from '#src/kernel/concurrency/timed-background.ts';
import type { Timers } from '#src/kernel/timers.ts';
import { type PositionVector, SHARDS, shardOfName, shardOfPosition } from '#src/protocol/wire/position.ts';
import type { WriteRequest } from './operation.ts';
import type { Writer } from './writer.ts';

/** What could not get its position is tried again after so long. */
const RETRY_MS = 2_000;
/** Changes of a span that a reader is told one by one. */
export const FEW = 20_000;

export type Positioned<Change> = Change & { readonly pos: number };

export interface NotedChangesOptions<Change> {
  /** Names the changes in logs and metrics. */
  readonly name: string;
  readonly writer: Writer;
  readonly timers: Timers;
  readonly logger: Logger;
  /** Changes of each shard that are kept in memory. Older ones are read. */
  readonly kept: number;
  /** Tells changes from each other: those with the same key are the same. */
  readonly keyOf: (change: Change) => string;
  /** What is noted and has no position yet. */
  readonly due: () => Promise<readonly Change[]>;
  /** How a change is written with its position; it is no longer due then. */
  readonly write: (change: Positioned<Change>) => Pick<WriteRequest, 'streams' | 'devices'>;
  /** Changes within a span of each shard, as they are stored; `most` of them when given. */
  readonly read: (after: PositionVector, upTo: PositionVector, most?: number) => Promise<readonly Positioned<Change>[]>;
}

/**
 * Changes of users that sync or other servers show to others. Each is noted in the transaction that makes it, and gets its position right after the
 * commit. Nothing is lost between the two: what a killed process left without a position gets it at the next start, and what the writer
 * refused is tried again.
 */
export class NotedChanges<Change extends { readonly userId: string }> {
  readonly #options: NotedChangesOptions<Change>;
  /** The newest changes of each shard, ascending. */
  readonly #recent: Positioned<Change>[][] = Array.from({ length: SHARDS }, () => []);
  /** After these positions, `#recent` has everything. */
  #horizon: number[] = [];
  readonly #publishing = new Ongoing<string>();
  /** The newest change of each key that is about to be committed with its position. */
  readonly #underWay = new Map<string, Change>();
  readonly #retrying: TimedBackground;
  /** Fires once a change is committed and has its position. */
  readonly changed = new Signal<Positioned<Change>>();

  constructor(options: NotedChangesOptions<Change>) {
    this.#options = options;
    this.#retrying = new TimedBackground(
      options.name,
      () => this.#publishDue(),
      (err) => this.#retryLater(err),
      options.timers,
    );
  }

  /** Begins to remember, and gives what was left over its position. The writer has started. */
  async start(): Promise<void> {
    this.#horizon = [...this.#options.writer.committed()];
    await this.#publishDue();
  }

  /** Gives a change its position that was noted in a transaction. To be called right after its commit. */
  publish(change: Change): void {
    this.#publishing.add(
      change.userId,
      this.#publish(change).catch((err: unknown) => this.#retryLater(err)),
    );
  }

  /** Resolves when the changes of a user that were committed have their positions, so that the next sync tells them. */
  published(userId: string): Promise<void> {
    return this.#publishing.done(userId);
  }

  /** Resolves when every change that was committed has its position, or will be tried again later. */
  async idle(): Promise<void> {
    await this.#publishing.idle();
    await this.#retrying.idle();
  }

  async close(): Promise<void> {
    await this.#publishing.idle();
    // What has no position gets it at the next start.
    await this.#retrying.close();
  }

  /** The changes within a span, in no order, some more than once. Reads only what is no longer in memory. */
  async between(after: PositionVector, upTo: PositionVector): Promise<readonly Positioned<Change>[]> {
    return this.#remembered(after, upTo, Infinity) ?? this.#options.read(after, upTo);
  }

  /** The same for a reader who may choose a long span; undefined where there are more than are worth looking at. */
  async fewBetween(after: PositionVector, upTo: PositionVector): Promise<readonly Positioned<Change>[] | undefined> {
    const found = this.#remembered(after, upTo, FEW) ?? (await this.#options.read(after, upTo, FEW + 1));
    return found.length > FEW ? undefined : found;
  }

  /** @returns undefined where not all of them are in memory; a few more than `most` where there are more */
  #remembered(after: PositionVector, upTo: PositionVector, most: number): Positioned<Change>[] | undefined {
    const isRemembered = this.#horizon.every((position, shard) => (after[shard] ?? 0) >= position);
    if (!isRemembered) return undefined;
    const found: Positioned<Change>[] = [];
    for (const [shard, changes] of this.#recent.entries()) {
      const [first, last] = [after[shard] ?? 0, upTo[shard] ?? 0];
      for (let at = changes.length - 1; at >= 0; at--) {
        const change = changes[at];
        if (change === undefined || change.pos <= first) break;
        if (change.pos <= last) found.push(change);
        if (found.length > most) return found;
      }
    }
    return found;
  }

  async #publishDue(): Promise<void> {
    for (const change of await this.#options.due()) {
      if (this.#retrying.isClosed) return;
      // It is due until its position is committed. Should that fail, or should it have been noted once more since, it is found then.
      if (this.#underWay.has(this.#options.keyOf(change))) this.#retrying.wakeAfter(RETRY_MS);
      else await this.#publish(change);
    }
  }

  async #publish(change: Change): Promise<void> {
    const { keyOf, write, writer } = this.#options;
    writer.assertAccepting();
    const pos = writer.allocate(shardOfName(change.userId));
    const positioned = { ...change, pos };
    const key = keyOf(change);
    this.#underWay.set(key, change);
    try {
      await writer.append({
        positions: [pos],
        ...write(positioned),
        publish: () => {
          this.#remember(positioned);
          this.changed.emit(positioned);
        },
      });
    } finally {
      if (this.#underWay.get(key) === change) this.#underWay.delete(key);
    }
  }

  #retryLater(err: unknown): void {
    const { logger, name } = this.#options;
    if (this.#retrying.isClosed) return;
    logger.error('a change of a user could not be published; trying again', { changes: name, err });
    this.#retrying.wakeAfter(RETRY_MS);
  }

  #remember(change: Positioned<Change>): void {
    const shard = shardOfPosition(change.pos);
    const changes = this.#recent[shard];
    if (changes === undefined) return;
    const { kept } = this.#options;
    changes.push(change);
    if (changes.length <= kept) return;
    const dropped = changes.splice(0, changes.length - Math.ceil(kept / 2));
    this.#horizon[shard] = dropped.at(-1)?.pos ?? this.#horizon[shard] ?? 0;
  }
}
