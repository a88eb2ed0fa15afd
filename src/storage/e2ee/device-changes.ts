import type { Database, Tx } from '../database.ts';
import { changesSince } from '../changes-since.ts';
import { sql } from '../statement.ts';

/** A change of a user's devices or keys that is committed and has no position yet. */
export interface DueDeviceChange {
  readonly userId: string;
  /** Who alone is told; empty for everybody who shares a room with the user. */
  readonly seenBy: string;
}

/** A change with its position. */
export interface DeviceChangeRow extends DueDeviceChange {
  readonly pos: number;
}

// The update locks the row: the transaction that gives an earlier change its position leaves it to the transaction that notes another one.
const MARK = sql(
  'device_changes_mark',
  `insert into device_changes_due (user_id, seen_by) select * from unnest($1::text[], $2::text[])
   on conflict (user_id, seen_by) do update set seen_by = excluded.seen_by`,
);
const DUE = sql('device_changes_due', 'select user_id as "userId", seen_by as "seenBy" from device_changes_due');

/** Notes, in the transaction that changes devices or keys, that others have to be told. */
export const markDeviceChanges = async (tx: Tx, changes: readonly DueDeviceChange[]): Promise<void> => {
  await tx.query(MARK, [changes.map(({ userId }) => userId), changes.map(({ seenBy }) => seenBy)]);
};

/** The noted changes without a position. */
export const dueDeviceChanges = (database: Database): Promise<DueDeviceChange[]> =>
  database.query<DueDeviceChange>(DUE);

/** The users whose devices changed last within a span of each shard; so many of them at most. */
export const deviceChangesSince = changesSince<DeviceChangeRow>(
  'device_changes',
  'c.user_id as "userId", c.seen_by as "seenBy"',
);
