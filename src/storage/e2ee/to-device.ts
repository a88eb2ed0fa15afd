import type { Database } from '../database.ts';
import { sql } from '../statement.ts';

/** A message for one device, as it is written. */
export interface ToDeviceRow {
  readonly userId: string;
  readonly deviceId: string;
  readonly pos: number;
  /** JSON. */
  readonly content: string;
}

export interface ToDeviceRecord {
  readonly pos: number;
  readonly content: string;
}

const PENDING = sql(
  'to_device_pending',
  `select pos, content from to_device where user_id = $1 and device_id = $2 order by pos limit $3`,
);
const STORED = sql(
  'to_device_stored',
  `select pos, content from to_device where user_id = $1 and device_id = $2 and pos > $3 order by pos limit $4`,
);
const ACKNOWLEDGE = sql(
  'to_device_acknowledge',
  'delete from to_device where user_id = $1 and device_id = $2 and pos <= $3',
);
const DELETE = sql(
  'to_device_delete',
  `delete from to_device t using unnest($1::text[], $2::text[], $3::bigint[]) m(user_id, device_id, pos)
   where t.user_id = m.user_id and t.device_id = m.device_id and t.pos = m.pos`,
);
const DEVICES_OF_USERS = sql(
  'to_device_devices',
  'select user_id as "userId", device_id as "deviceId" from devices where user_id = any($1::text[])',
);
// Of the newest one all is kept, however large it is.
/** More bytes than one message may have. */
const MAX_MESSAGE_BYTES = 256 * 1024;
const surplusIn = (inboxes: string, limit = ''): string => `surplus as (
     select ctid from (
       select t.ctid, row_number() over w as messages, sum(octet_length(t.content)) over w as bytes
       from ${inboxes} join to_device t using (user_id, device_id)
       window w as (partition by t.user_id, t.device_id order by t.pos desc)
     ) counted where messages > $1::int or (messages > 1 and bytes > $2::bigint) ${limit}
   )`;
const DELETED = `deleted as (
     delete from to_device t using surplus s where t.ctid = s.ctid returning 1
   ) select count(*)::int as count from deleted`;
// Who never comes to fetch them must not fill the disk: the oldest go.
const TRIM = sql(
  'to_device_trim',
  // Bytes are read of those only that have enough messages to hold too many: counting needs the index alone.
  `with candidates as (
     select user_id, device_id from to_device group by user_id, device_id
     having count(*) > least($1::int, $2::bigint / ${MAX_MESSAGE_BYTES})
   ), full_inboxes as (
     select user_id, device_id from candidates join to_device using (user_id, device_id) group by user_id, device_id
     having count(*) > $1::int or sum(octet_length(content)) > $2::bigint
   ), ${surplusIn('full_inboxes', 'limit $3')}, ${DELETED}`,
);
const TRIM_DEVICES = sql(
  'to_device_trim_devices',
  `with devices as (
     select * from unnest($3::text[], $4::text[]) d(user_id, device_id)
   ), ${surplusIn('devices')}, ${DELETED}`,
);
/** Messages of users beyond the newest so many bytes, whichever of their devices they are for. */
const surplusOfUsers = (users: string, limit = ''): string => `surplus as (
     select ctid from (
       select t.ctid, row_number() over w as messages, sum(octet_length(t.content)) over w as bytes
       from ${users} join to_device t using (user_id)
       window w as (partition by t.user_id order by t.pos desc, t.device_id)
     ) counted where messages > 1 and bytes > $1::bigint ${limit}
   )`;
const TRIM_ALL_USERS = sql(
  'to_device_trim_all_users',
  `with candidates as (
     select user_id from to_device group by user_id having count(*) > $1::bigint / ${MAX_MESSAGE_BYTES}
   ), full_users as (
     select user_id from candidates join to_device using (user_id) group by user_id
     having sum(octet_length(content)) > $1::bigint
   ), ${surplusOfUsers('full_users', 'limit $2')}, ${DELETED}`,
);
const TRIM_USERS = sql(
  'to_device_trim_users',
  `with users as (
     select * from unnest($2::text[]) u(user_id)
   ), ${surplusOfUsers('users')}, deleted as (
     delete from to_device t using surplus s where t.ctid = s.ctid returning t.user_id, t.device_id
   ) select distinct user_id as "userId", device_id as "deviceId" from deleted`,
);

/** What may wait to be fetched. */
export interface InboxLimits {
  /** Messages for one device. */
  readonly messages: number;
  /** Bytes of all of them. */
  readonly bytes: number;
  /** Bytes for all devices of a user together. */
  readonly userBytes: number;
}

/** The oldest messages that wait for a device. */
export const pendingToDevice = (
  database: Database,
  userId: string,
  deviceId: string,
  limit: number,
): Promise<ToDeviceRecord[]> => database.query<ToDeviceRecord>(PENDING, [userId, deviceId, limit]);

/** The messages that wait for a device, after a position. */
export const storedToDevice = (
  database: Database,
  userId: string,
  deviceId: string,
  after: number,
  limit: number,
): Promise<ToDeviceRecord[]> => database.query<ToDeviceRecord>(STORED, [userId, deviceId, after, limit]);

/** Deletes what a device has received: everything up to a position. */
export const acknowledgeToDevice = async (
  database: Database,
  userId: string,
  deviceId: string,
  upTo: number,
): Promise<void> => {
  await database.query(ACKNOWLEDGE, [userId, deviceId, upTo]);
};

/** Deletes these messages. */
export const deleteToDevice = async (
  database: Database,
  messages: readonly Pick<ToDeviceRow, 'userId' | 'deviceId' | 'pos'>[],
): Promise<void> => {
  await database.query(DELETE, [
    messages.map(({ userId }) => userId),
    messages.map(({ deviceId }) => deviceId),
    messages.map(({ pos }) => pos),
  ]);
};

/** All devices of these users. */
export const devicesOfUsers = (
  database: Database,
  userIds: readonly string[],
): Promise<{ readonly userId: string; readonly deviceId: string }[]> => database.query(DEVICES_OF_USERS, [userIds]);

/** Deletes the oldest messages of all devices for which more wait than may, `limit` at most. Returns how many. */
export const trimToDevice = async (
  database: Database,
  { messages, bytes }: InboxLimits,
  limit: number,
): Promise<number> => (await database.query<{ count: number }>(TRIM, [messages, bytes, limit]))[0]?.count ?? 0;

/** The same for all users for whose devices together more waits than may. Returns how many. */
export const trimToDeviceOfUsers = async (
  database: Database,
  { userBytes }: InboxLimits,
  limit: number,
): Promise<number> => (await database.query<{ count: number }>(TRIM_ALL_USERS, [userBytes, limit]))[0]?.count ?? 0;

/** The same for these users, all that is too much. Returns the devices that lost messages. */
export const trimInboxesOfUsers = (
  database: Database,
  userIds: readonly string[],
  { userBytes }: InboxLimits,
): Promise<{ readonly userId: string; readonly deviceId: string }[]> =>
  database.query(TRIM_USERS, [userBytes, userIds]);

/** The same for these devices, all that are too many. Returns how many. */
export const trimInboxes = async (
  database: Database,
  devices: readonly Pick<ToDeviceRow, 'userId' | 'deviceId'>[],
  { messages, bytes }: InboxLimits,
): Promise<number> => {
  const [userIds, deviceIds] = [devices.map(({ userId }) => userId), devices.map(({ deviceId }) => deviceId)];
  const [row] = await database.query<{ count: number }>(TRIM_DEVICES, [messages, bytes, userIds, deviceIds]);
  return row?.count ?? 0;
};
