import type { Database, Tx } from '../database.ts';
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
const SINCE = sql(
  'profile_changes_since',
  `select c.user_id as "userId", c.field, c.pos
   from unnest($1::int[], $2::bigint[], $3::bigint[]) s(shard, after, up_to)
   join profile_changes c on c.pos % 16 = s.shard and c.pos > s.after and c.pos <= s.up_to`,
);

/** Notes, in the transaction that changes a field, that others have to be told. */
export const markProfileChange = async (tx: Tx, userId: string, field: string): Promise<void> => {
  await tx.query(MARK, [userId, field]);
  await tx.query(TRIM, [userId]);
};

/** What was noted and has no position yet. */
export const dueProfileChanges = (database: Database): Promise<Omit<ProfileChangeRow, 'pos'>[]> => database.query(DUE);

/** The fields that changed last within a span of each shard. */
export const profileChangesSince = (
  database: Database,
  after: readonly number[],
  upTo: readonly number[],
): Promise<ProfileChangeRow[]> => database.query<ProfileChangeRow>(SINCE, [[...after.keys()], after, upTo]);
