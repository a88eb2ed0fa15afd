import { EVENT_FLAGS, HIDDEN_FLAGS } from '#src/protocol/events/event-flags.ts';
import { SHARDS } from '#src/protocol/wire/position.ts';
import type { Database } from '../database.ts';
import { sql } from '../statement.ts';

/** An event that notified a user. */
export interface NotifyingRecord {
  readonly room: number;
  readonly nid: number;
  readonly flags: number;
  /** `origin_server_ts`, in milliseconds since the epoch. */
  readonly ts: number;
  /** The user's exception from the event's class. */
  readonly kind: number | null;
}

/** Which events of a room notify: those of class `notify` and above, those that highlight for all users, or only exceptions. */
export type RoomClasses = 'notify' | 'highlight' | 'none';

export interface NotificationsQuery {
  readonly user: number;
  readonly rooms: readonly {
    readonly room: number;
    /** Position of the user's join: earlier events did not notify them. */
    readonly since: number;
    /** Only events up to this position. */
    readonly upTo: number;
    readonly classes: RoomClasses;
    /** Whether events in threads notify only by exceptions, or where they highlight for all users. */
    readonly quietThreads: boolean;
    /** Whether events in threads that the user follows notify. MSC4306. */
    readonly followedThreads: boolean;
  }[];
  /** Exceptions of this kind and above. */
  readonly leastKind: number;
  /** Users whose events do not count. */
  readonly without: readonly number[];
  /** Of each shard. */
  readonly limit: number;
}

const SHOWN = `e.flags & ${HIDDEN_FLAGS} = 0
  and e.redacted_by is null and e.sender <> $1 and e.sender <> all($2::int[])`;

/** Events of a class, in rooms in which the class holds: exceptions from it are for the other branch. */
const ofClass = (rooms: string, since: string, upTo: string, quiet: string, flag: number): string => `
  select l.* from unnest(${rooms}::int[], ${since}::bigint[], ${upTo}::bigint[], ${quiet}::boolean[]) u(room, since, up_to, quiet)
  cross join lateral (
    select e.room, e.nid, e.flags, e.ts, null::smallint as kind from events e
    where e.room = u.room and e.nid > u.since and e.nid <= u.up_to and ${SHOWN} and e.flags & ${flag} <> 0
      and (not u.quiet or e.flags & ${EVENT_FLAGS.threaded} = 0 or e.flags & ${EVENT_FLAGS.highlightsAll} <> 0)
      and not exists (select 1 from mention x where x.user_nid = $1 and x.room = e.room and x.pos = e.nid)
    order by e.nid desc limit $12
  ) l`;

const NOTIFICATIONS = sql(
  'notifications_page',
  `select room, nid, flags, ts, kind from (
    select n.*, row_number() over (partition by n.nid % ${SHARDS} order by n.nid desc) as place from (
      (${ofClass('$3', '$4', '$5', '$13', EVENT_FLAGS.notifies)})
      union (
        select l.* from unnest($14::int[], $15::bigint[], $16::bigint[]) u(room, since, up_to)
        join thread_subscriptions t on t.user_nid = $1 and t.room = u.room and t.automatic is not null
        cross join lateral (
          select e.room, e.nid, e.flags, e.ts, null::smallint as kind from events e
          where e.room = t.room and e.rel = t.root_nid and e.nid > greatest(u.since, t.at) and e.nid <= u.up_to and ${SHOWN}
            and e.flags & ${EVENT_FLAGS.threaded} <> 0 and e.flags & ${EVENT_FLAGS.notifiesFollowers} <> 0
            and not exists (select 1 from mention x where x.user_nid = $1 and x.room = e.room and x.pos = e.nid)
          order by e.nid desc limit $12
        ) l
      )
      union all (${ofClass('$6', '$7', '$8', '$17', EVENT_FLAGS.highlightsAll)})
      union all (
        select l.* from unnest($9::int[], $10::bigint[]) u(room, up_to) cross join lateral (
          select e.room, e.nid, e.flags, e.ts, m.kind from mention m join events e on e.room = m.room and e.nid = m.pos
          where m.user_nid = $1 and m.room = u.room and m.pos <= u.up_to and m.kind >= $11 and ${SHOWN}
          order by m.pos desc limit $12
        ) l
      )
    ) n
  ) placed where place <= $12`,
);

/** Events that notified a user, the newest of each shard. */
export const notificationsOf = (database: Database, query: NotificationsQuery): Promise<NotifyingRecord[]> => {
  const notify = query.rooms.filter(({ classes }) => classes === 'notify');
  const highlight = query.rooms.filter(({ classes }) => classes === 'highlight');
  const followed = query.rooms.filter(({ followedThreads }) => followedThreads);
  return database.query<NotifyingRecord>(NOTIFICATIONS, [
    query.user,
    query.without,
    notify.map(({ room }) => room),
    notify.map(({ since }) => since),
    notify.map(({ upTo }) => upTo),
    highlight.map(({ room }) => room),
    highlight.map(({ since }) => since),
    highlight.map(({ upTo }) => upTo),
    query.rooms.map(({ room }) => room),
    query.rooms.map(({ upTo }) => upTo),
    query.leastKind,
    query.limit,
    notify.map(({ quietThreads }) => quietThreads),
    followed.map(({ room }) => room),
    followed.map(({ since }) => since),
    followed.map(({ upTo }) => upTo),
    highlight.map(() => false),
  ]);
};
