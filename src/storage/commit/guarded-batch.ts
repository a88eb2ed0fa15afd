import { type BatchStatements, BatchTable, bigint, smallint, type Step } from '../batch-statement.ts';
import type { Database, Tx } from '../database.ts';

/** The newest position of a shard within a batch, and the epoch under which this process owns the shard. */
export interface ShardGuard {
  readonly shard: number;
  readonly epoch: number;
  readonly sequence: number;
}

/** Thrown when another process has taken over a shard: nothing of the batch was written. */
export class StaleEpochError extends Error {
  constructor() {
    super('this process no longer owns a shard that the batch writes to');
    this.name = 'StaleEpochError';
  }
}

/** A batch that is written under the epochs of its shards. */
export interface GuardedBatch {
  readonly guards: readonly ShardGuard[];
}

const SHARDS = BatchTable.declare<GuardedBatch, ShardGuard>({
  name: 'shards',
  rows: (batch) => batch.guards,
  columns: {
    id: smallint((guard) => guard.shard),
    epoch: bigint((guard) => guard.epoch),
    seq: bigint((guard) => guard.sequence),
  },
});

/** The first steps of every batch that takes positions. What comes after has `OWNED` in its FROM: it has a row if the shards are ours. */
export const GUARD: readonly Step<GuardedBatch>[] = [
  {
    name: 'guard',
    tables: [],
    text: (rows) => `update shards s set seq = greatest(s.seq, g.seq) from ${rows(SHARDS, 'g')}
where s.id = g.id and s.epoch = g.epoch returning s.id`,
  },
  {
    name: 'owned',
    tables: [],
    text: (rows) => `select 1 from guard having count(*) = (select count(*) from ${rows(SHARDS, 'g', ['id'])})`,
  },
];

export const OWNED = 'owned';

/**
 * Writes a batch in one statement and one commit.
 *
 * @returns the statement's one row
 * @throws StaleEpochError when a shard has another owner by now; nothing is written then
 */
export const writeGuarded = async <Batch extends GuardedBatch, Answer extends object>(
  database: Database | Tx,
  statements: BatchStatements<Batch>,
  batch: Batch,
): Promise<Answer> => {
  const [answer] = await statements.write<Answer>(database, batch);
  if (answer === undefined) throw new StaleEpochError();
  return answer;
};
