import type { Database } from '../database.ts';
import { sql } from '../statement.ts';

/** A to-device message for a user of an application service, which is sent to the service. */
export interface WaitingMessage {
  readonly userId: string;
  readonly deviceId: string;
  readonly pos: number;
  /** JSON */
  readonly content: string;
}

const MESSAGES = sql(
  'appservice_to_device',
  `select user_id as "userId", device_id as "deviceId", pos, content from to_device where user_id = any($1::text[])
   order by pos limit $2`,
);
// Only the names are wanted: from one to the next by the index.
const RECIPIENTS = sql(
  'appservice_to_device_users',
  `with recursive waiting(user_id) as (
     (select user_id from to_device where user_id > $1 order by user_id limit 1)
     union all
     select (select t.user_id from to_device t where t.user_id > w.user_id order by t.user_id limit 1)
     from waiting w where w.user_id is not null
   ) select user_id as "userId" from waiting where user_id is not null limit $2`,
);
const ROOMS_OF_USERS = sql(
  'appservice_rooms_of_users',
  `select u.user_id as "userId", m.room from users u
   cross join lateral (select room from member where user_nid = u.nid and membership = 1 order by since desc limit $2) m
   where u.user_id = any($1::text[])`,
);
const ALIASES = sql('appservice_aliases_of_rooms', 'select room, alias from aliases where room = any($1::int[])');

/** The oldest messages that wait for devices of these users, in order. */
export const messagesForUsers = (
  database: Database,
  userIds: readonly string[],
  limit: number,
): Promise<WaitingMessage[]> => database.query<WaitingMessage>(MESSAGES, [userIds, limit]);

/** Users for whose devices messages wait, in order from after one. */
export const usersWithMessages = async (database: Database, after: string, limit: number): Promise<string[]> =>
  (await database.query<{ userId: string }>(RECIPIENTS, [after, limit])).map(({ userId }) => userId);

/** In which rooms users are, of this server or not: the newest `most` of each. */
export const newestRoomsOfUsers = (
  database: Database,
  userIds: readonly string[],
  most: number,
): Promise<{ readonly userId: string; readonly room: number }[]> => database.query(ROOMS_OF_USERS, [userIds, most]);

/** The aliases of rooms on this server. */
export const aliasesOfRooms = (
  database: Database,
  rooms: readonly number[],
): Promise<{ readonly room: number; readonly alias: string }[]> => database.query(ALIASES, [rooms]);
