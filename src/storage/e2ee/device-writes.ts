import { BatchStatements, BatchTable, bigint, insertStep, int, text, uuid } from '../batch-statement.ts';
import { GUARD, type GuardedBatch, OWNED, type ShardGuard, writeGuarded } from '../commit/guarded-batch.ts';
import type { Database } from '../database.ts';
import type { TxnRow } from '../events/event-rows.ts';
import type { DeviceChangeRow } from './device-changes.ts';
import type { ToDeviceRow } from './to-device.ts';

/** To-device messages and device list changes that are written together. */
export interface DeviceWrite {
  /** Those for devices that do not exist (any more) are dropped. */
  readonly toDevice?: readonly ToDeviceRow[];
  readonly changes?: readonly DeviceChangeRow[];
  readonly txns?: readonly TxnRow[];
}

interface DeviceBatch extends GuardedBatch {
  readonly writes: readonly DeviceWrite[];
}

const TO_DEVICE = BatchTable.declare<DeviceBatch, ToDeviceRow>({
  name: 'to_device',
  rows: ({ writes }) => writes.flatMap((write) => write.toDevice ?? []),
  columns: {
    user_id: text((message) => message.userId),
    device_id: text((message) => message.deviceId),
    pos: bigint((message) => message.pos),
    content: text((message) => message.content),
  },
});

const CHANGES = BatchTable.declare<DeviceBatch, DeviceChangeRow>({
  name: 'device_changes',
  rows: ({ writes }) => writes.flatMap((write) => write.changes ?? []),
  key: (change) => JSON.stringify([change.userId, change.seenBy]),
  columns: {
    user_id: text((change) => change.userId),
    seen_by: text((change) => change.seenBy),
    pos: bigint((change) => change.pos),
  },
});

const TXNS = BatchTable.declare<DeviceBatch, TxnRow>({
  name: 'txn',
  rows: ({ writes }) => writes.flatMap((write) => write.txns ?? []),
  columns: {
    key: uuid((txn) => txn.key),
    event_id: text((txn) => txn.eventId),
    day: int((txn) => txn.day),
  },
});

const WRITE_DEVICES = new BatchStatements<DeviceBatch>(
  [
    {
      name: 'write_devices',
      steps: [
        ...GUARD,
        {
          name: 'new_to_device',
          tables: [TO_DEVICE],
          // A device that is being deleted at this moment is waited for: its messages must not outlive it.
          text: (rows) => `insert into to_device (user_id, device_id, pos, content)
select n.user_id, n.device_id, n.pos, n.content from ${OWNED}, ${rows(TO_DEVICE, 'n')}
join devices d on d.user_id = n.user_id and d.device_id = n.device_id for key share of d
on conflict (user_id, device_id, pos) do nothing`,
        },
        insertStep(TXNS, { from: OWNED }),
        insertStep(CHANGES, {
          from: OWNED,
          after: 'on conflict (user_id, seen_by) do update set pos = excluded.pos',
        }),
        {
          name: 'settled',
          tables: [CHANGES],
          // What a transaction is noting anew at this moment is left to that transaction.
          text: (rows) => `delete from device_changes_due d using (
  select due.user_id, due.seen_by from ${OWNED}, device_changes_due due
  join ${rows(CHANGES, 'c', ['user_id', 'seen_by'])} on c.user_id = due.user_id and c.seen_by = due.seen_by
  for update of due skip locked
) s where d.user_id = s.user_id and d.seen_by = s.seen_by`,
        },
      ],
    },
  ],
  () => `select 1 from ${OWNED}`,
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
  await writeGuarded(database, WRITE_DEVICES, { guards, writes });
};
