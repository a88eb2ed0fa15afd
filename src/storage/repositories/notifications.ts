import type { Database } from '../database.ts';
import { sql } from '../statement.ts';
import type { EventRecord } from './event-reads.ts';
import { EVENT_FLAGS } from './event-writes.ts';

/** An event that notified a user. */
export interface NotifyingRecord extends EventRecord {
  /** Milliseconds since the epoch, as its sender says. */
  readonly ts: number;
  /** The user's exception from the event's class. */
  readonly kind: number | null;
}

/** What of a room notifies: its events of class `notify` and above, those that highlight for everybody, or only exceptions. */
export type RoomClasses = 'notify' | 'highlight' | 'none';

export interface NotificationsQuery {
  readonly user: number;
  readonly rooms: readonly {
    readonly room: number;
    /** Since when the user is in it: what was there before notified nobody. */
    readonly since: number;
    readonly classes: RoomClasses;
  }[];
  /** Exceptions of this kind and above. */
  readonly leastKind: number;
  /** Only what is older than this. */
  readonly before: { readonly ts: number; readonly nid: number };
  readonly limit: number;
}

const COLUMNS =
  'e.room, e.nid, e.topo, e.event_id, e.skey, e.state, e.flags, e.replaces, e.redacted_by, e.current_state, e.json, e.ts';
const SHOWN = `e.flags & ${EVENT_FLAGS.rejected | EVENT_FLAGS.softFailed | EVENT_FLAGS.outlier} = 0
  and e.redacted_by is null and e.sender <> $1`;

/** Events of a class, in rooms in which the class holds: exceptions from it are for the other branch. */
const ofClass = (rooms: string, since: string, flag: number): string => `
  select l.* from unnest(${rooms}::int[], ${since}::bigint[]) u(room, since) cross join lateral (
    select ${COLUMNS}, null::smallint as kind from events e
    where e.room = u.room and e.nid > u.since and (e.ts, e.nid) < ($7, $8) and ${SHOWN} and e.flags & ${flag} <> 0
      and not exists (select 1 from mention x where x.user_nid = $1 and x.room = e.room and x.pos = e.nid)
    order by e.nid desc limit $10
  ) l`;

const NOTIFICATIONS = sql(
  'notifications_page',
  `select * from (
    (${ofClass('$2', '$3', EVENT_FLAGS.notifies)})
    union all (${ofClass('$4', '$5', EVENT_FLAGS.highlightsAll)})
    union all (
      select l.* from unnest($6::int[]) u(room) cross join lateral (
        select ${COLUMNS}, m.kind from mention m join events e on e.room = m.room and e.nid = m.pos
        where m.user_nid = $1 and m.room = u.room and m.kind >= $9 and (e.ts, e.nid) < ($7, $8) and ${SHOWN}
        order by m.pos desc limit $10
      ) l
    )
  ) n order by n.ts desc, n.nid desc limit $10`,
);

/** What notified a user, the newest first. */
export const notificationsOf = (database: Database, query: NotificationsQuery): Promise<NotifyingRecord[]> => {
  const notify = query.rooms.filter(({ classes }) => classes === 'notify');
  const highlight = query.rooms.filter(({ classes }) => classes === 'highlight');
  return database.query<NotifyingRecord>(NOTIFICATIONS, [
    query.user,
    notify.map(({ room }) => room),
    notify.map(({ since }) => since),
    highlight.map(({ room }) => room),
    highlight.map(({ since }) => since),
    query.rooms.map(({ room }) => room),
    query.before.ts,
    query.before.nid,
    query.leastKind,
    query.limit,
  ]);
};
