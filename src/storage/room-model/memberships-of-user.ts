import type { Database } from '../database.ts';
import { sql } from '../statement.ts';

const MEMBERSHIPS = sql(
  'member_of_user',
  `select r.room_id as "roomId", m.membership from users u join member m on m.user_nid = u.nid join rooms r on r.nid = m.room
   where u.user_id = $1 order by r.nid`,
);
const JOINED = sql(
  'member_joined_of_user',
  `select r.room_id as "roomId" from users u join member m on m.user_nid = u.nid and m.membership = 1 join rooms r on r.nid = m.room
   where u.user_id = $1 order by r.nid`,
);
// By time: the only index over all rooms is a BRIN index of times. Only the content of the user's own member events is parsed.
const INVITES_SENT = sql(
  'events_invites_sent',
  `select count(*)::int as count from events e
   where e.ts >= $2 and e.sender = (select nid from users where user_id = $1) and e.skey is not null
     and e.type = (select nid from strings where s = 'm.room.member')
     and e.json::json -> 'content' ->> 'membership' = 'invite'`,
);
const ROOMS_JOINED = sql(
  'events_rooms_joined',
  `select count(distinct e.room)::int as count from events e
   where e.ts >= $2 and e.skey = (
     select k.nid from state_keys k join strings s on s.nid = k.type where s.s = 'm.room.member' and k.state_key = $1
   ) and e.json::json -> 'content' ->> 'membership' = 'join'`,
);

/** Every room in which a user has or had a membership, with the membership's code. */
export const membershipsOfUser = (
  database: Database,
  userId: string,
): Promise<{ readonly roomId: string; readonly membership: number }[]> => database.query(MEMBERSHIPS, [userId]);

/** The joined rooms of a user, local or remote. */
export const joinedRoomsOfUser = async (database: Database, userId: string): Promise<string[]> =>
  (await database.query<{ roomId: string }>(JOINED, [userId])).map(({ roomId }) => roomId);

const countOf = async (rows: Promise<{ count: number }[]>): Promise<number> => (await rows)[0]?.count ?? 0;

/** How many invites a user has sent since a time, in milliseconds since the epoch. */
export const countInvitesSent = (database: Database, userId: string, since: number): Promise<number> =>
  countOf(database.query(INVITES_SENT, [userId, since]));

/** How many rooms a user has joined since a time, also those that they have left again. */
export const countRoomsJoined = (database: Database, userId: string, since: number): Promise<number> =>
  countOf(database.query(ROOMS_JOINED, [userId, since]));
