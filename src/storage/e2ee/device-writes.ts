import type { Database } from '../database.ts';
import { type ShardGuard, StaleEpochError } from '../events/event-writes.ts';
import type { TxnRow } from '../events/event-rows.ts';
import { sql } from '../statement.ts';
import type { DeviceChangeRow } from './device-changes.ts';
import type { ToDeviceRow } from './to-device.ts';

/** What has to be written together of what concerns devices. */
export interface DeviceWrite {
  /** Those for devices that do not exist (any more) are dropped. */
  readonly toDevice?: readonly ToDeviceRow[];
  readonly changes?: readonly DeviceChangeRow[];
  readonly txns?: readonly TxnRow[];
}

// A device that is being deleted at this moment is waited for: its messages must not outlive it. What a transaction is noting anew
// among the changes that are due is left to that transaction.
const WRITE = sql(
  'write_devices',
  `with guard as (
    update shards s set seq = greatest(s.seq, g.seq) from unnest($1::smallint[], $2::bigint[], $3::bigint[]) g(id, epoch, seq)
    where s.id = g.id and s.epoch = g.epoch returning s.id
  ), owned as (
    select 1 from guard having count(*) = cardinality($1::smallint[])
  ), new_messages as (
    insert into to_device (user_id, device_id, pos, content)
    select m.user_id, m.device_id, m.pos, m.content
    from owned, unnest($4::text[], $5::text[], $6::bigint[], $7::text[]) m(user_id, device_id, pos, content)
    join devices d on d.user_id = m.user_id and d.device_id = m.device_id
    for key share of d
    on conflict (user_id, device_id, pos) do nothing
  ), new_changes as (
    insert into device_changes (user_id, seen_by, pos)
    select c.* from owned, unnest($8::text[], $9::text[], $10::bigint[]) c(user_id, seen_by, pos)
    on conflict (user_id, seen_by) do update set pos = excluded.pos
  ), settled as (
    delete from device_changes_due d using (
      select due.user_id, due.seen_by from owned, device_changes_due due
      join unnest($8::text[], $9::text[]) c(user_id, seen_by) on c.user_id = due.user_id and c.seen_by = due.seen_by
      for update of due skip locked
    ) s where d.user_id = s.user_id and d.seen_by = s.seen_by
  ), new_txns as (
    insert into txn (key, event_id, day)
    select t.* from owned, unnest($11::uuid[], $12::text[], $13::int[]) t(key, event_id, day)
  ) select 1 from owned`,
);

/**
 * Writes messages for devices and changes of device lists in one statement and one commit.
 *
 * @throws StaleEpochError when a shard has another owner by now; nothing is written then
 */
export const writeDevices = async (
  database: Database,
  guards: readonly ShardGuard[],
  writes: readonly DeviceWrite[],
): Promise<void> => {
  const messages = writes.flatMap(({ toDevice }) => toDevice ?? []);
  // The last row of each key: an upsert may not touch the same row twice.
  const changes = [
    ...new Map(
      writes.flatMap((write) => write.changes ?? []).map((row) => [JSON.stringify([row.userId, row.seenBy]), row]),
    ).values(),
  ];
  const txns = writes.flatMap((write) => write.txns ?? []);
  const rows = await database.query(WRITE, [
    guards.map(({ shard }) => shard),
    guards.map(({ epoch }) => epoch),
    guards.map(({ sequence }) => sequence),
    messages.map(({ userId }) => userId),
    messages.map(({ deviceId }) => deviceId),
    messages.map(({ pos }) => pos),
    messages.map(({ content }) => content),
    changes.map(({ userId }) => userId),
    changes.map(({ seenBy }) => seenBy),
    changes.map(({ pos }) => pos),
    txns.map(({ key }) => key),
    txns.map(({ eventId }) => eventId),
    txns.map(({ day }) => day),
  ]);
  if (rows.length === 0) throw new StaleEpochError();
};
