import type { Database } from '../database.ts';
import { sql } from '../statement.ts';

/** A push, and its place in the log. */
export interface PushRecord {
  readonly pos: number;
  /** Both null for a changed unread count. */
  readonly room: number | null;
  readonly event: number | null;
  /** Whose unread count has changed; null for events. */
  readonly user_nid: number | null;
  /** Milliseconds since the epoch. */
  readonly ts: number;
}

export type NewPush = Omit<PushRecord, 'pos'>;

/** A push that may concern a user. */
export interface PushOfUser extends PushRecord {
  /** The user's exception from the event's class. */
  readonly kind: number | null;
}

/** A user who has read something, and whose pushers may need the new unread count. */
export interface PushCheckRow {
  readonly user: number;
  /** Unique. */
  readonly mark: number;
}

const APPEND = sql(
  'pushes_append',
  `insert into pushes (room, event, user_nid, ts)
   select p.room, p.event, p.user_nid, p.ts
   from unnest($1::int[], $2::bigint[], $3::int[], $4::bigint[]) with ordinality p(room, event, user_nid, ts, place)
   order by p.place on conflict do nothing returning pos, room, event, user_nid, ts`,
);
const NEWEST = sql('pushes_newest', 'select coalesce(max(pos), 0) as pos from pushes');
const AFTER = sql(
  'pushes_after',
  'select pos, room, event, user_nid, ts from pushes where pos > $1 order by pos limit $2',
);
const OF_USER = sql(
  'pushes_of_user',
  `select s.pos, s.room, s.event, s.user_nid, s.ts, m.kind from pushes s
   left join mention m on m.user_nid = $1 and m.room = s.room and m.pos = s.event
   where s.pos > $2 and s.pos <= $3 and (s.user_nid = $1 or (s.user_nid is null and exists (
     select 1 from member w where w.room = s.room and w.user_nid = $1 and w.membership in (1, 2)
   )))
   order by s.pos limit $4`,
);
const EXCEPTIONS = sql(
  'mentions_at',
  `select m.user_nid as "user", m.room, m.pos, m.kind from unnest($1::int[], $2::bigint[]) p(room, pos)
   join mention m on m.room = p.room and m.pos = p.pos`,
);
// Pushes to gateways that cannot be reached are read from here; `event_followers` holds up to where all others are done.
const TRIM = sql(
  'pushes_trim',
  `delete from pushes where ctid = any(array(
     select ctid from pushes where ts < $1 or pos <= least(
       coalesce((select pos from event_followers where name = 'push_sent' and shard = 0), 0),
       (select min(position) from deliveries
        where queue = 'push' and not gone and (retry_at is not null or batch_end is not null))
     ) limit $2
   )) returning 1`,
);
const TRIM_DELIVERIES = sql(
  'pushes_trim_deliveries',
  `delete from deliveries d where d.ctid = any(array(
     select o.ctid from deliveries o
     where o.queue = 'push' and not exists (select 1 from pushers p where p.id = o.destination::bigint) limit $1
   )) returning 1`,
);

const CHECKS = sql('push_checks', 'select user_nid as "user", mark from push_checks');
const CHECKED = sql(
  'push_checked',
  'delete from push_checks c using unnest($1::int[], $2::bigint[]) d(user_nid, mark) where c.user_nid = d.user_nid and c.mark = d.mark',
);

/** Users who have read something since their pushers were sent the unread count. */
export const pushChecks = (database: Database): Promise<PushCheckRow[]> => database.query<PushCheckRow>(CHECKS);

/** Deletes the checks of users that were made, unless they have read something meanwhile. */
export const deletePushChecks = async (database: Database, checks: readonly PushCheckRow[]): Promise<void> => {
  await database.query(CHECKED, [checks.map(({ user }) => user), checks.map(({ mark }) => mark)]);
};

/** Appends pushes in this order. An event that is in the log already is left out. @returns the appended ones */
export const appendPushes = (database: Database, pushes: readonly NewPush[]): Promise<PushRecord[]> =>
  database.query<PushRecord>(APPEND, [
    pushes.map(({ room }) => room),
    pushes.map(({ event }) => event),
    pushes.map(({ user_nid: user }) => user),
    pushes.map(({ ts }) => ts),
  ]);

export const newestPush = async (database: Database): Promise<number> =>
  (await database.query<{ pos: number }>(NEWEST))[0]?.pos ?? 0;

/** Pushes after a place, in order. */
export const pushesAfter = (database: Database, after: number, limit: number): Promise<PushRecord[]> =>
  database.query<PushRecord>(AFTER, [after, limit]);

/** Pushes with `after` < place <= `upTo` that may concern a user, by the rooms that they are in, in order. */
export const pushesOfUser = (
  database: Database,
  user: number,
  after: number,
  upTo: number,
  limit: number,
): Promise<PushOfUser[]> => database.query<PushOfUser>(OF_USER, [user, after, upTo, limit]);

/** The users whom these events notify otherwise than their class says. */
export const exceptionsAt = (
  database: Database,
  places: readonly { readonly room: number; readonly nid: number }[],
): Promise<{ readonly user: number; readonly room: number; readonly pos: number; readonly kind: number }[]> =>
  database.query(EXCEPTIONS, [places.map(({ room }) => room), places.map(({ nid }) => nid)]);

/** Deletes up to `limit` pushes that are done for all pushers, or older than a time. @returns how many */
export const trimPushes = async (database: Database, before: number, limit: number): Promise<number> =>
  (await database.query(TRIM, [before, limit])).length;

/** Deletes up to `limit` delivery rows of deleted pushers. @returns how many */
export const trimPushDeliveries = async (database: Database, limit: number): Promise<number> =>
  (await database.query(TRIM_DELIVERIES, [limit])).length;
