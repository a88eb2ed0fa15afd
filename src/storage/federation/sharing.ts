import type { Database, Tx } from '../database.ts';
import { sql } from '../statement.ts';

const ROOMS_OF_USERS = sql(
  'federation_rooms_of_users',
  `select u.user_id as "userId", m.room from users u join member m on m.user_nid = u.nid and m.membership = 1
   where u.user_id = any($1::text[]) and u.local`,
);
const SHARING = sql(
  'federation_sharing_users',
  `select u.user_id as "userId" from users u where u.user_id = any($1::text[]) and not u.local and exists (
     select 1 from member m join member o on o.room = m.room and o.local and o.membership = 1
     where m.user_nid = u.nid and m.membership = 1)`,
);

/** In which rooms users of this server are. */
export const roomsOfUsers = (
  database: Database,
  userIds: readonly string[],
): Promise<{ readonly userId: string; readonly room: number }[]> => database.query(ROOMS_OF_USERS, [userIds]);

/** Those of these users of other servers who are in a room with one of ours. */
export const sharingUsers = async (database: Database | Tx, userIds: readonly string[]): Promise<ReadonlySet<string>> =>
  userIds.length === 0
    ? new Set()
    : new Set((await database.query<{ userId: string }>(SHARING, [userIds])).map(({ userId }) => userId));
