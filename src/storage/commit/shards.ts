import type { Database } from '../database.ts';
import { sql } from '../statement.ts';

/** The shards, and their epochs: the fencing tokens of the processes that write. */
const SHARDS_CLAIM = sql(
  'shards_claim',
  'update shards set epoch = epoch + 1 where id = any($1::smallint[]) returning id, epoch, seq',
);

const SHARD_EPOCHS = sql('shard_epochs', 'select id, epoch from shards where id = any($1::smallint[])');

/** Claims shards: from now on, batches of an older epoch match no row. */
export const claimShards = (
  database: Database,
  shards: readonly number[],
): Promise<{ id: number; epoch: number; seq: number }[]> => database.query(SHARDS_CLAIM, [shards]);

/** The present epochs of shards. */
export const shardEpochs = (database: Database, shards: readonly number[]): Promise<{ id: number; epoch: number }[]> =>
  database.query(SHARD_EPOCHS, [shards]);
