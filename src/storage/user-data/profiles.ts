import type { Database, Tx } from '../database.ts';
import { sql } from '../statement.ts';

const OF_USER = sql('profile_of_user', 'select field, value from profiles where user_id = $1 order by field');
const SET = sql(
  'profile_set_field',
  `insert into profiles (user_id, field, value) values ($1, $2, $3)
   on conflict (user_id, field) do update set value = excluded.value`,
);
const REMOVE = sql('profile_remove_field', 'delete from profiles where user_id = $1 and field = $2');

/** Fields of a profile with their values as JSON. */
export const profileFields = (database: Database, userId: string): Promise<{ field: string; value: string }[]> =>
  database.query(OF_USER, [userId]);

export const setProfileField = async (tx: Tx, userId: string, field: string, value: string): Promise<void> => {
  await tx.query(SET, [userId, field, value]);
};

export const removeProfileField = async (tx: Tx, userId: string, field: string): Promise<void> => {
  await tx.query(REMOVE, [userId, field]);
};
