import { positionOf } from '#src/protocol/wire/position.ts';
import type { Database } from '#src/storage/database.ts';
import { reservePast } from '#src/storage/events/past-writes.ts';

/** Gives out positions before a room's live history. What is taken and not used is lost, and does no harm. */
export class BackfillPositions {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Positions before all that were given out in a shard, ascending. */
  async take(shard: number, count: number): Promise<readonly number[]> {
    const lowest = await reservePast(this.#database, shard, count);
    return Array.from({ length: count }, (_, index) => -positionOf(lowest - index, shard));
  }
}
