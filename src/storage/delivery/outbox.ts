import type { Tx } from '../database.ts';
import { sql } from '../statement.ts';

/** A job that was written in the transaction of its cause. */
export interface OutboxRecord {
  readonly id: number;
  readonly job: string;
  readonly payload: unknown;
  readonly created_ts: number;
}

const CLAIM = sql(
  'outbox_claim',
  'select id, job, payload, created_ts from outbox order by id limit $1 for update skip locked',
);
const DELETE = sql('outbox_delete', 'delete from outbox where id = any($1::bigint[])');

/** The oldest jobs that are not locked by another process; they stay locked while the transaction is open. */
export const claimOutbox = (tx: Tx, limit: number): Promise<OutboxRecord[]> => tx.query<OutboxRecord>(CLAIM, [limit]);

export const deleteOutbox = async (tx: Tx, ids: readonly number[]): Promise<void> => {
  await tx.query(DELETE, [ids]);
};
