import type { Database, Tx } from '../database.ts';
import { changesSince } from '../changes-since.ts';
import { sql } from '../statement.ts';

/** A change of a field of a user's profile. */
export interface ProfileChangeRow {
  readonly userId: string;
  readonly field: string;
  readonly pos: number;
}

/** Fields of one user of which is kept when they changed, those that were taken away included: the ones that changed last. */
const MAX_PER_USER = 200;

const MARK = sql(
  'profile_changes_mark',
  `insert into profile_changes (user_id, field) values ($1, $2) on conflict (user_id, field) do update set pos = null`,
);
const TRIM = sql(
  'profile_changes_trim',
  `delete from profile_changes where user_id = $1 and field in (
     select field from profile_changes where user_id = $1 order by pos desc nulls first offset ${MAX_PER_USER})`,
);
const DUE = sql('profile_changes_due', 'select user_id as "userId", field from profile_changes where pos is null');

/** Notes, in the transaction that changes a field, that others have to be told. */
export const markProfileChange = async (tx: Tx, userId: string, field: string): Promise<void> => {
  await tx.query(MARK, [userId, field]);
  await tx.query(TRIM, [userId]);
};

/** What was noted and has no position yet. */
export const dueProfileChanges = (database: Database): Promise<Omit<ProfileChangeRow, 'pos'>[]> => database.query(DUE);

/** The fields that changed last within a span of each shard; so many of them at most. */
export const profileChangesSince = changesSince<ProfileChangeRow>('profile_changes', 'c.user_id as "userId", c.field');
