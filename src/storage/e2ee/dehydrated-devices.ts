import type { Database, Tx } from '../database.ts';
import { sql } from '../statement.ts';

/** A user's dehydrated device: one that no client runs until it is rehydrated. */
export interface DehydratedDeviceRecord {
  readonly deviceId: string;
  /** JSON. */
  readonly deviceData: string;
}

const FIND = sql(
  'dehydrated_device_find',
  'select device_id as "deviceId", device_data as "deviceData" from dehydrated_devices where user_id = $1',
);
const INSERT = sql(
  'dehydrated_device_insert',
  'insert into dehydrated_devices (user_id, device_id, device_data) values ($1, $2, $3)',
);

/** A user's dehydrated device; undefined when there is none. */
export const findDehydratedDevice = async (
  reader: Database | Tx,
  userId: string,
): Promise<DehydratedDeviceRecord | undefined> => (await reader.query<DehydratedDeviceRecord>(FIND, [userId]))[0];

/** Makes an existing device the dehydrated one. The row goes with the device. */
export const insertDehydratedDevice = async (
  tx: Tx,
  userId: string,
  { deviceId, deviceData }: DehydratedDeviceRecord,
): Promise<void> => {
  await tx.query(INSERT, [userId, deviceId, deviceData]);
};
