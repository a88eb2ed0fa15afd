import { sql, type Database } from '../database.ts';

const ROOM = sql('server_notice_room', 'select room_id as "roomId" from server_notice_rooms where user_id = $1');
const SET_ROOM = sql(
  'server_notice_room_set',
  `insert into server_notice_rooms (user_id, room_id) values ($1, $2)
   on conflict (user_id) do update set room_id = excluded.room_id`,
);
const LANGUAGE = sql(
  'server_notice_language',
  'select lang from pushers where user_id = $1 order by updated_ts desc limit 1',
);
const RECIPIENTS = sql(
  'announcement_recipients',
  `select user_id as "userId" from accounts
   where user_id > $1 and not deactivated and not is_guest and appservice_id is null order by user_id limit $2`,
);

/** The server notices room of a user. */
export const noticeRoomOf = async (database: Database, userId: string): Promise<string | undefined> =>
  (await database.query<{ roomId: string }>(ROOM, [userId]))[0]?.roomId;

export const setNoticeRoom = async (database: Database, userId: string, roomId: string): Promise<void> => {
  await database.query(SET_ROOM, [userId, roomId]);
};

/** The language of the app on which a user was pushed to last. */
export const pushLanguageOf = async (database: Database, userId: string): Promise<string | undefined> =>
  (await database.query<{ lang: string }>(LANGUAGE, [userId]))[0]?.lang;

/** Accounts of people, in the order of their ids, after one. */
export const announcementRecipients = async (
  database: Database,
  after: string,
  limit: number,
): Promise<readonly string[]> =>
  (await database.query<{ userId: string }>(RECIPIENTS, [after, limit])).map(({ userId }) => userId);
