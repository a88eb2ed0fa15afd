import type { Database, Tx } from '../database.ts';
import { sql } from '../statement.ts';

const OF_USERS = sql(
  'profiles_of_users',
  'select user_id as "userId", field, value from profiles where user_id = any($1::text[]) order by user_id, field',
);
const SET = sql(
  'profile_set_field',
  `insert into profiles (user_id, field, value) values ($1, $2, $3)
   on conflict (user_id, field) do update set value = excluded.value`,
);
const REMOVE = sql('profile_remove_field', 'delete from profiles where user_id = $1 and field = $2');

/** A field of a profile, with its value as JSON. */
export interface ProfileFieldRecord {
  readonly userId: string;
  readonly field: string;
  readonly value: string;
}

/** The profiles of users. */
export const profileFields = (database: Database, userIds: readonly string[]): Promise<ProfileFieldRecord[]> =>
  database.query<ProfileFieldRecord>(OF_USERS, [userIds]);

export const setProfileField = async (tx: Tx, userId: string, field: string, value: string): Promise<void> => {
  await tx.query(SET, [userId, field, value]);
};

export const removeProfileField = async (tx: Tx, userId: string, field: string): Promise<void> => {
  await tx.query(REMOVE, [userId, field]);
};
