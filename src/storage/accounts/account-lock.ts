import type { Tx } from '../database.ts';
import { sql } from '../statement.ts';

const LOCK = sql('account_lock', 'select 1 from accounts where user_id = $1 for no key update');

/** Makes transactions that change an account, or look at it before they change what belongs to it, wait for each other until they end. */
export const lockAccount = async (tx: Tx, userId: string): Promise<void> => {
  await tx.query(LOCK, [userId]);
};
