import { sql, type Database, type Tx } from '../database.ts';

export interface DeviceRecord {
  readonly userId: string;
  readonly deviceId: string;
  readonly displayName: string | null;
  /** Milliseconds since the epoch. */
  readonly createdTs: number;
  readonly lastSeenTs: number | null;
  readonly lastSeenIp: string | null;
  readonly lastSeenUserAgent: string | null;
}

/** When and from where a device was last seen. */
export interface DeviceSighting {
  readonly userId: string;
  readonly deviceId: string;
  readonly ts: number;
  readonly ip: string;
  readonly userAgent: string | undefined;
}

const UPDATE_SEEN = sql(
  'devices_seen',
  `update devices d set last_seen_ts = s.ts, last_seen_ip = s.ip, last_seen_user_agent = s.agent
   from unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[]) as s (user_id, device_id, ts, ip, agent)
   where d.user_id = s.user_id and d.device_id = s.device_id and d.last_seen_ts is distinct from s.ts`,
);
// Who shares a room with the user has to look at their devices anew: it is noted with the change itself (storage/e2ee/device-changes.ts).
// A first device has nobody yet whose list it could be missing in.
const INSERT_DEVICE = sql(
  'device_insert',
  `with created as (
    insert into devices (user_id, device_id, display_name, created_ts, last_seen_ip, last_seen_ts)
    values ($1, $2, $3, $4, $5, case when $5::text is null then null else $4::bigint end) on conflict do nothing returning user_id
  ), due as (
    insert into device_changes_due (user_id) select user_id from created
    where exists (select 1 from devices where user_id = $1)
    on conflict (user_id, seen_by) do update set seen_by = excluded.seen_by
  ) select 1 from created`,
);
const DELETED = `, unsigned as (
    delete from key_signatures s using deleted d where s.user_id = $1 and s.target = d.device_id
  ), due as (
    insert into device_changes_due (user_id) select $1 where exists (select 1 from deleted)
    on conflict (user_id, seen_by) do update set seen_by = excluded.seen_by
  ) select device_id as "deviceId", exists (
    select 1 from account_data a join users u on u.nid = a.user_nid where u.user_id = $1 and a.room = 0 and a.content <> '{}'
    and a.type in ('m.local_notification_settings.' || device_id, 'org.matrix.msc3890.local_notification_settings.' || device_id)
  ) as "hasSettings" from deleted`;
const COUNT_DEVICES = sql('devices_count', 'select count(*)::int as count from devices where user_id = $1');
const DELETE_DEVICES = sql(
  'devices_delete',
  `with deleted as (delete from devices where user_id = $1 and device_id = any($2::text[]) returning device_id)${DELETED}`,
);
const DELETE_OTHER_DEVICES = sql(
  'devices_delete_others',
  `with deleted as (delete from devices where user_id = $1 and device_id is distinct from $2::text returning device_id)${DELETED}`,
);
const RENAME_DEVICE = sql(
  'device_rename',
  `with renamed as (
    update devices set display_name = $3 where user_id = $1 and device_id = $2 returning user_id
  ), due as (
    insert into device_changes_due (user_id) select user_id from renamed
    on conflict (user_id, seen_by) do update set seen_by = excluded.seen_by
  ) select 1 from renamed`,
);

const COLUMNS = `user_id as "userId", device_id as "deviceId", display_name as "displayName", created_ts as "createdTs",
  last_seen_ts as "lastSeenTs", last_seen_ip as "lastSeenIp", last_seen_user_agent as "lastSeenUserAgent"`;
const LIST_DEVICES = sql(
  'devices_list',
  `select ${COLUMNS} from devices where user_id = $1 order by created_ts, device_id`,
);
const SELECT_DEVICE = sql('device_select', `select ${COLUMNS} from devices where user_id = $1 and device_id = $2`);

export const listDevices = (tx: Tx, userId: string): Promise<DeviceRecord[]> =>
  tx.query<DeviceRecord>(LIST_DEVICES, [userId]);

export const findDevice = async (tx: Tx, userId: string, deviceId: string): Promise<DeviceRecord | undefined> =>
  (await tx.query<DeviceRecord>(SELECT_DEVICE, [userId, deviceId]))[0];

/** Returns whether there was such a device. */
export const renameDevice = async (tx: Tx, userId: string, deviceId: string, displayName: string): Promise<boolean> =>
  (await tx.query(RENAME_DEVICE, [userId, deviceId, displayName])).length > 0;

/** Makes a device unless it exists, in which case its name stays. Returns whether it is new. */
export const insertDevice = async (
  tx: Tx,
  device: Pick<DeviceRecord, 'userId' | 'deviceId' | 'displayName' | 'createdTs'>,
  ip?: string,
): Promise<boolean> => {
  const { createdTs, deviceId, displayName, userId } = device;
  return (await tx.query(INSERT_DEVICE, [userId, deviceId, displayName, createdTs, ip ?? null])).length > 0;
};

export const countDevices = async (tx: Tx, userId: string): Promise<number> =>
  (await tx.query<{ count: number }>(COUNT_DEVICES, [userId]))[0]?.count ?? 0;

/** A deleted device. */
export interface DeletedDevice {
  readonly deviceId: string;
  /** Whether account data says how it notifies its user (MSC3890). */
  readonly hasSettings: boolean;
}

/** Deletes devices with their sessions; returns those that existed. */
export const deleteDevices = (tx: Tx, userId: string, deviceIds: readonly string[]): Promise<DeletedDevice[]> =>
  tx.query<DeletedDevice>(DELETE_DEVICES, [userId, deviceIds]);

/** Deletes all devices of a user but one (or all of them); returns them. */
export const deleteOtherDevices = (tx: Tx, userId: string, keep: string | undefined): Promise<DeletedDevice[]> =>
  tx.query<DeletedDevice>(DELETE_OTHER_DEVICES, [userId, keep ?? null]);

/** Writes many sightings with one statement. Devices that were deleted meanwhile match no row. */
export const writeSightings = async (database: Database, sightings: readonly DeviceSighting[]): Promise<void> => {
  await database.query(UPDATE_SEEN, [
    sightings.map((seen) => seen.userId),
    sightings.map((seen) => seen.deviceId),
    sightings.map((seen) => seen.ts),
    sightings.map((seen) => seen.ip),
    sightings.map((seen) => seen.userAgent ?? null),
  ]);
};
