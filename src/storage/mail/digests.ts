import { type Database, sql, type Tx } from '../database.ts';

/** The progress of a pusher's mails. */
export interface DigestState {
  /** Milliseconds since the epoch: what came up to then was told, or read before. */
  readonly toldTs: number;
  /** Up to when the mail goes that was begun; null for none. */
  readonly pendingTs: number | null;
}

/** When a room was mailed about, and how long no further mail about it is sent. */
export interface DigestRoom {
  readonly roomId: string;
  readonly toldTs: number;
  readonly pauseMs: number;
}

// A room is looked at when its newest event came after what was told: one row of an index for each room of each user with such a pusher.
const CANDIDATES = sql(
  'digest_candidates',
  `select p.id from pushers p left join mail_digests d on d.pusher = p.id
   where p.kind = 'email' and p.enabled and p.id > $1 and (d.pending_ts is not null or exists (
     select 1 from users u join member m on m.user_nid = u.nid and m.membership in (1, 2)
     cross join lateral (select e.ts from events e where e.room = m.room order by e.nid desc limit 1) newest
     where u.user_id = p.user_id and newest.ts > coalesce(d.told_ts, p.created_ts)
   )) order by p.id limit $2`,
);
const STATE = sql(
  'digest_state',
  'select told_ts as "toldTs", pending_ts as "pendingTs" from mail_digests where pusher = $1',
);
const ROOMS = sql(
  'digest_rooms',
  'select room_id as "roomId", told_ts as "toldTs", pause_ms as "pauseMs" from mail_digest_rooms where pusher = $1',
);
const BEGIN = sql(
  'digest_begin',
  `insert into mail_digests as d (pusher, told_ts, pending_ts) values ($1, $2, $3)
   on conflict (pusher) do update set pending_ts = coalesce(d.pending_ts, excluded.pending_ts)
   returning pending_ts as "pendingTs"`,
);
const FINISH = sql(
  'digest_finish',
  'update mail_digests set told_ts = pending_ts, pending_ts = null where pusher = $1 and pending_ts is not null',
);
const REST = sql(
  'digest_rest',
  `insert into mail_digest_rooms (pusher, room_id, told_ts, pause_ms)
   select $1, * from unnest($2::text[], $3::bigint[], $4::bigint[])
   on conflict (pusher, room_id) do update set told_ts = excluded.told_ts, pause_ms = excluded.pause_ms`,
);

/** Pushers by mail, in order from after an id, in whose rooms something may be new. */
export const digestCandidates = async (database: Database, after: number, limit: number): Promise<number[]> =>
  (await database.query<{ id: number }>(CANDIDATES, [after, limit])).map(({ id }) => id);

export const digestState = async (database: Database, pusher: number): Promise<DigestState | undefined> =>
  (await database.query<DigestState>(STATE, [pusher]))[0];

export const digestRooms = (database: Database, pusher: number): Promise<DigestRoom[]> =>
  database.query<DigestRoom>(ROOMS, [pusher]);

/** Notes that a mail is begun that tells what came after `toldTs` up to `pendingTs`. @returns up to when the one goes that was begun first */
export const beginDigest = async (
  database: Database,
  pusher: number,
  toldTs: number,
  pendingTs: number,
): Promise<number> =>
  (await database.query<{ pendingTs: number }>(BEGIN, [pusher, toldTs, pendingTs]))[0]?.pendingTs ?? pendingTs;

/** Notes that the mail that was begun is sent, and how long its rooms rest. */
export const finishDigest = async (tx: Tx, pusher: number, rooms: readonly DigestRoom[]): Promise<void> => {
  await tx.query(FINISH, [pusher]);
  if (rooms.length === 0) return;
  await tx.query(REST, [
    pusher,
    rooms.map(({ roomId }) => roomId),
    rooms.map(({ toldTs }) => toldTs),
    rooms.map(({ pauseMs }) => pauseMs),
  ]);
};
