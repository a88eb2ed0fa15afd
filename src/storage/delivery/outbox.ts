import type { Database, Tx } from '../database.ts';
import { sql } from '../statement.ts';

/** A job that was written together with what made it necessary. */
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
const COUNT = sql('outbox_count', 'select count(*)::int as count from outbox');

/** The oldest jobs that nobody else is handing over; nobody else gets them while the transaction is open. */
export const claimOutbox = (tx: Tx, limit: number): Promise<OutboxRecord[]> => tx.query<OutboxRecord>(CLAIM, [limit]);

export const deleteOutbox = async (tx: Tx, ids: readonly number[]): Promise<void> => {
  await tx.query(DELETE, [ids]);
};

export const outboxSize = async (database: Database): Promise<number> =>
  (await database.query<{ count: number }>(COUNT))[0]?.count ?? 0;
