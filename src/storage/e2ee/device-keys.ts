import type { Database, Tx } from '../database.ts';
import { sql } from '../statement.ts';

/** The identity keys of a device, as they were uploaded. */
export interface DeviceKeysRecord {
  readonly userId: string;
  readonly deviceId: string;
  /** JSON without `unsigned`. */
  readonly content: string;
  readonly displayName: string | null;
}

const UPSERT = sql(
  'device_keys_upsert',
  `insert into device_keys (user_id, device_id, content)
   select $1, $2, $3 from devices d where d.user_id = $1 and d.device_id = $2
   on conflict (user_id, device_id) do update set content = excluded.content where device_keys.content <> excluded.content
   returning 1`,
);
const OF_USERS = sql(
  'device_keys_of_users',
  `select k.user_id as "userId", k.device_id as "deviceId", k.content, d.display_name as "displayName"
   from device_keys k join devices d using (user_id, device_id)
   where k.user_id = any($1::text[]) order by k.user_id, d.created_ts, k.device_id`,
);
const WITHOUT = sql(
  'devices_without_keys',
  `select d.user_id as "userId", d.device_id as "deviceId", d.display_name as "displayName" from devices d
   where d.user_id = any($1::text[])
     and not exists (select 1 from device_keys k where k.user_id = d.user_id and k.device_id = d.device_id)
   order by d.user_id, d.created_ts, d.device_id`,
);

/** Stores the identity keys of a device that exists. Returns whether they are new or other ones. */
export const upsertDeviceKeys = async (tx: Tx, userId: string, deviceId: string, content: string): Promise<boolean> =>
  (await tx.query(UPSERT, [userId, deviceId, content])).length > 0;

/** The keys of all devices of these users, by user. */
export const deviceKeysOfUsers = (database: Database, userIds: readonly string[]): Promise<DeviceKeysRecord[]> =>
  database.query<DeviceKeysRecord>(OF_USERS, [userIds]);

/** The devices of these users that have no keys, by user. */
export const devicesWithoutKeys = (
  database: Database,
  userIds: readonly string[],
): Promise<Pick<DeviceKeysRecord, 'userId' | 'deviceId' | 'displayName'>[]> => database.query(WITHOUT, [userIds]);
