import type { Database, Tx } from '../database.ts';
import { sql } from '../statement.ts';
import { lockAccount } from '../accounts/account-lock.ts';

/** A device of a user of this server, as sent to other servers; without a device id, the user's cross-signing keys. */
export interface SentDevice {
  readonly deviceId: string;
  readonly streamId: number;
  readonly digest: Buffer;
  readonly deleted: boolean;
}

/** A user whose device changes after a stream id are still to be sent to a server. */
export interface PendingDeviceList {
  readonly userId: string;
  readonly after: number;
}

const COLUMNS = 'device_id as "deviceId", stream_id as "streamId", digest, deleted';
const AWAIT_LOCKS = sql(
  'told_devices_await',
  `with locked as (
     select 1 from accounts a where user_id = any($1::text[])
       and not exists (select 1 from told_devices t where t.user_id = a.user_id) order by user_id for share of a
   )
   select count(*) from locked`,
);
const OF_USER = sql(
  'told_devices_of_user',
  `select ${COLUMNS} from told_devices where user_id = $1 order by stream_id`,
);
const AFTER = sql(
  'told_devices_after',
  `select t.user_id as "userId", ${COLUMNS} from unnest($1::text[], $2::bigint[]) w(user_id, after)
   join told_devices t on t.user_id = w.user_id and t.stream_id > w.after order by t.user_id, t.stream_id`,
);
const UNTOLD = sql(
  'told_devices_missing',
  `select distinct d.user_id as "userId" from devices d where d.user_id = any($1::text[]) and not exists (
     select 1 from told_devices t where t.user_id = d.user_id and t.device_id = d.device_id and not t.deleted)
   and ($2 or exists (select 1 from device_keys k where k.user_id = d.user_id))`,
);
const UPSERT = sql(
  'told_devices_upsert',
  `insert into told_devices (user_id, device_id, stream_id, digest, deleted)
   select $1, t.* from unnest($2::text[], $3::bigint[], $4::bytea[], $5::boolean[]) t
   on conflict (user_id, device_id) do update
     set stream_id = excluded.stream_id, digest = excluded.digest, deleted = excluded.deleted`,
);
// What a server has not heard of yet it asks for, once it sees that it missed something.
const TRIM = sql(
  'told_devices_trim',
  `delete from told_devices where user_id = $1 and deleted
   and stream_id <= (select stream_id from told_devices where user_id = $1 and deleted order by stream_id desc offset $2 limit 1)`,
);
const NEWEST = sql(
  'told_devices_newest',
  `select coalesce(max(stream_id), 0) as newest from told_devices where user_id = $1 and device_id <> ''`,
);
// In one order, so that those who add at once wait for each other in turn.
const ADD = sql(
  'destination_device_lists_add',
  `with added as (
     insert into destination_device_lists (destination, user_id, after)
     select d, u, $3 from unnest($2::text[]) u cross join unnest($1::text[]) d
     where exists (select 1 from told_devices t where t.user_id = u and t.stream_id > $3) order by d, u
     on conflict (destination, user_id) do update set after = excluded.after where destination_device_lists.after > excluded.after
     returning destination
   )
   select distinct destination from added`,
);
const NEXT = sql(
  'destination_device_lists_next',
  `select user_id as "userId", after from destination_device_lists where destination = $1 order by user_id limit $2`,
);
// Before what came of them is looked up: what comes meanwhile waits, and finds the row as it is afterwards.
const LOCK_LISTS = sql(
  'destination_device_lists_lock',
  `select 1 from destination_device_lists where destination = $1 and user_id = any($2::text[]) order by user_id for update`,
);
const TOLD = sql(
  'destination_device_lists_told',
  `with told as (select * from unnest($2::text[], $3::bigint[]) t(user_id, up_to)), more as (
     update destination_device_lists d set after = t.up_to from told t
     where d.destination = $1 and d.user_id = t.user_id
       and exists (select 1 from told_devices n where n.user_id = t.user_id and n.stream_id > t.up_to)
   )
   delete from destination_device_lists d using told t
   where d.destination = $1 and d.user_id = t.user_id
     and not exists (select 1 from told_devices n where n.user_id = t.user_id and n.stream_id > t.up_to)`,
);
const FORGET = sql('destination_device_lists_forget', 'delete from destination_device_lists where destination = $1');
const DESTINATIONS = sql('destination_device_lists_all', 'select distinct destination from destination_device_lists');

/** Serializes the computation of changes of a user's devices. */
export const lockSentDevices = lockAccount;

/**
 * Waits for those who work out users' devices for the first time, and makes the next ones wait. Of users of whom others were told something
 * nobody is waited for, and no row is written.
 */
export const awaitFirstSentDevices = async (tx: Tx, userIds: readonly string[]): Promise<void> => {
  await tx.query(AWAIT_LOCKS, [userIds]);
};

/** The last device list update sent for each device of a user, by stream id. */
export const sentDevicesOf = (reader: Database | Tx, userId: string): Promise<SentDevice[]> =>
  reader.query<SentDevice>(OF_USER, [userId]);

/** What came of users' devices after a stream id each, by user and stream id. */
export const sentDevicesAfter = (
  database: Database,
  lists: readonly PendingDeviceList[],
): Promise<(SentDevice & { readonly userId: string })[]> =>
  database.query(AFTER, [lists.map(({ userId }) => userId), lists.map(({ after }) => after)]);

/** Those of these users who have a device of which no server was told. @param withoutKeys also those who have no keys at all */
export const usersWithUnsentDevices = async (
  database: Database,
  userIds: readonly string[],
  withoutKeys: boolean,
): Promise<string[]> =>
  (await database.query<{ userId: string }>(UNTOLD, [userIds, withoutKeys])).map(({ userId }) => userId);

/** Notes what other servers are told from now on, and keeps the newest `keepDeleted` of deleted devices. */
export const saveSentDevices = async (
  tx: Tx,
  userId: string,
  devices: readonly SentDevice[],
  keepDeleted: number,
): Promise<void> => {
  await tx.query(UPSERT, [
    userId,
    devices.map(({ deviceId }) => deviceId),
    devices.map(({ streamId }) => streamId),
    devices.map(({ digest }) => digest),
    devices.map(({ deleted }) => deleted),
  ]);
  if (devices.some(({ deleted }) => deleted)) await tx.query(TRIM, [userId, keepDeleted]);
};

/** The newest stream id of a user's devices; 0 when other servers were never told of any. */
export const newestDeviceStreamId = async (database: Database, userId: string): Promise<number> =>
  (await database.query<{ newest: number }>(NEWEST, [userId]))[0]?.newest ?? 0;

/**
 * Notes that servers are to be told what came of users' devices after a stream id, or after an earlier one that is noted already; nothing of
 * users without changes. Resolves with the servers for which something new was noted.
 */
export const addDestinationDeviceLists = async (
  tx: Tx,
  destinations: readonly string[],
  userIds: readonly string[],
  after: number,
): Promise<string[]> => {
  if (destinations.length === 0 || userIds.length === 0) return [];
  const added = await tx.query<{ destination: string }>(ADD, [destinations, userIds, after]);
  return added.map(({ destination }) => destination);
};

/** Users whose device changes are still to be sent to a server. */
export const nextDestinationDeviceLists = (
  database: Database,
  destination: string,
  limit: number,
): Promise<PendingDeviceList[]> => database.query<PendingDeviceList>(NEXT, [destination, limit]);

/** Notes that a server was told of users up to a stream id each. */
export const markDeviceListsSent = async (
  database: Database,
  destination: string,
  told: readonly { readonly userId: string; readonly upTo: number }[],
): Promise<void> => {
  const userIds = told.map(({ userId }) => userId);
  await database.write(async (tx) => {
    await tx.query(LOCK_LISTS, [destination, userIds]);
    await tx.query(TOLD, [destination, userIds, told.map(({ upTo }) => upTo)]);
  });
};

export const forgetDestinationDeviceLists = async (database: Database, destination: string): Promise<void> => {
  await database.query(FORGET, [destination]);
};

/** The servers to which device changes are still to be sent. */
export const destinationsOfDeviceLists = async (database: Database): Promise<string[]> =>
  (await database.query<{ destination: string }>(DESTINATIONS, [])).map(({ destination }) => destination);
