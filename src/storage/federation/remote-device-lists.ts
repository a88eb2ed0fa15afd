import type { Database, Tx } from '../database.ts';
import { sql } from '../statement.ts';

/** The cached device list of a user of another server. */
export interface RemoteDeviceListRecord {
  readonly userId: string;
  /** The `stream_id` of the newest change in it. */
  readonly streamId: number;
  /** It is incomplete, and has to be requested again. */
  readonly stale: boolean;
  /** JSON. */
  readonly masterKey: string | null;
  readonly selfSigningKey: string | null;
}

export interface RemoteDeviceRecord {
  readonly userId: string;
  readonly deviceId: string;
  readonly displayName: string | null;
  /** JSON of its identity keys; null when it has none. */
  readonly keys: string | null;
}

const COLUMNS = `user_id as "userId", stream_id as "streamId", stale, master_key as "masterKey", self_signing_key as "selfSigningKey"`;
const LISTS = sql('remote_device_lists', `select ${COLUMNS} from remote_device_lists where user_id = any($1::text[])`);
const LIST_FOR_UPDATE = sql(
  'remote_device_list_for_update',
  `select ${COLUMNS} from remote_device_lists where user_id = $1 for update`,
);
const DEVICES = sql(
  'remote_devices',
  `select user_id as "userId", device_id as "deviceId", display_name as "displayName", keys
   from remote_devices where user_id = any($1::text[]) order by user_id, device_id`,
);
const PUT_LIST = sql(
  'remote_device_list_put',
  `insert into remote_device_lists (user_id, stream_id, stale, master_key, self_signing_key) values ($1, $2, $3, $4, $5)
   on conflict (user_id) do update set stream_id = excluded.stream_id, stale = excluded.stale,
     master_key = excluded.master_key, self_signing_key = excluded.self_signing_key`,
);
const DELETE_DEVICES = sql('remote_devices_delete', 'delete from remote_devices where user_id = $1');
const DELETE_DEVICE = sql('remote_device_delete', 'delete from remote_devices where user_id = $1 and device_id = $2');
const COUNT_DEVICES = sql(
  'remote_devices_count',
  'select count(*)::int as count from remote_devices where user_id = $1 and device_id <> $2',
);
const PUT_DEVICES = sql(
  'remote_devices_put',
  `insert into remote_devices (user_id, device_id, display_name, keys) select $1, d.* from unnest($2::text[], $3::text[], $4::text[]) d
   on conflict (user_id, device_id) do update set display_name = excluded.display_name, keys = excluded.keys`,
);
const MARK_STALE = sql(
  'remote_device_lists_stale',
  'update remote_device_lists set stale = true where user_id = any($1::text[])',
);
// Only lists of users who share a room with a local user are kept: changes of others are not sent to this server.
const DROP_UNSHARED = sql(
  'remote_device_lists_drop',
  `delete from remote_device_lists l where l.user_id = any($1::text[]) and not exists (
     select 1 from users u join member m on m.user_nid = u.nid and m.membership = 1
     join member o on o.room = m.room and o.local and o.membership = 1 where u.user_id = l.user_id)`,
);
const DROP_UNSHARED_OF_ROOM = sql(
  'remote_device_lists_drop_of_room',
  `delete from remote_device_lists l using users w, member r
   where r.room = $1 and r.user_nid = w.nid and not r.local and w.user_id = l.user_id and not exists (
     select 1 from users u join member m on m.user_nid = u.nid and m.membership = 1
     join member o on o.room = m.room and o.local and o.membership = 1 where u.user_id = l.user_id)`,
);

export const remoteDeviceLists = (database: Database, userIds: readonly string[]): Promise<RemoteDeviceListRecord[]> =>
  database.query<RemoteDeviceListRecord>(LISTS, [userIds]);

/** A list, locked while the transaction is open. */
export const lockRemoteDeviceList = async (tx: Tx, userId: string): Promise<RemoteDeviceListRecord | undefined> =>
  (await tx.query<RemoteDeviceListRecord>(LIST_FOR_UPDATE, [userId]))[0];

/** The devices of users, by user. */
export const remoteDevicesOf = (database: Database, userIds: readonly string[]): Promise<RemoteDeviceRecord[]> =>
  database.query<RemoteDeviceRecord>(DEVICES, [userIds]);

export const putRemoteDeviceList = async (tx: Tx, list: RemoteDeviceListRecord): Promise<void> => {
  await tx.query(PUT_LIST, [list.userId, list.streamId, list.stale, list.masterKey, list.selfSigningKey]);
};

/** Replaces all devices of a user. */
export const replaceRemoteDevices = async (
  tx: Tx,
  userId: string,
  devices: readonly Omit<RemoteDeviceRecord, 'userId'>[],
): Promise<void> => {
  await tx.query(DELETE_DEVICES, [userId]);
  await putRemoteDevices(tx, userId, devices);
};

export const putRemoteDevices = async (
  tx: Tx,
  userId: string,
  devices: readonly Omit<RemoteDeviceRecord, 'userId'>[],
): Promise<void> => {
  if (devices.length === 0) return;
  await tx.query(PUT_DEVICES, [
    userId,
    devices.map(({ deviceId }) => deviceId),
    devices.map(({ displayName }) => displayName),
    devices.map(({ keys }) => keys),
  ]);
};

export const deleteRemoteDevice = async (tx: Tx, userId: string, deviceId: string): Promise<void> => {
  await tx.query(DELETE_DEVICE, [userId, deviceId]);
};

/** How many devices of a user are known, but for one. */
export const countRemoteDevices = async (tx: Tx, userId: string, but: string): Promise<number> =>
  (await tx.query<{ count: number }>(COUNT_DEVICES, [userId, but]))[0]?.count ?? 0;

/** Marks the lists of users as incomplete. */
export const markRemoteDeviceListsStale = async (database: Database, userIds: readonly string[]): Promise<void> => {
  await database.query(MARK_STALE, [userIds]);
};

/** Drops the lists of those of these users who share no room with users of this server. */
export const dropUnsharedDeviceLists = async (database: Database, userIds: readonly string[]): Promise<void> => {
  await database.query(DROP_UNSHARED, [userIds]);
};

/** The same for all who are or were in a room. */
export const dropUnsharedDeviceListsOfRoom = async (database: Database, room: number): Promise<void> => {
  await database.query(DROP_UNSHARED_OF_ROOM, [room]);
};
