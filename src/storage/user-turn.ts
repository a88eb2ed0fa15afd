import { sql, type Tx } from './database.ts';

const TURN = sql('user_turn', 'select pg_advisory_xact_lock(hashtextextended($1, 5))');

/**
 * Makes transactions that count what one user has wait for each other until they end: what one of them adds the next one counts, so that a
 * bound holds however many requests come at once.
 */
export const takeUserTurn = async (tx: Tx, userId: string): Promise<void> => {
  await tx.query(TURN, [userId]);
};
