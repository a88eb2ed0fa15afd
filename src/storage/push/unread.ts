import { EVENT_FLAGS, HIDDEN_FLAGS } from '#src/protocol/events/event-flags.ts';
import type { Database } from '../database.ts';
import { sql } from '../statement.ts';
import { joinRelated, ofThreaded } from '../reading/thread-roots.ts';

/** An event that counts as unread for a user, or that they sent themselves. */
export interface UnreadRecord {
  readonly room: number;
  readonly nid: number;
  readonly sender: number;
  readonly flags: number;
  /** Id of the root of the thread that it is in, when that is known here. */
  readonly root_id: Buffer | null;
  /** Only where the root of the thread is not known: the id of the event that names it. */
  readonly json: string | null;
  /** The user's exception from the event's class. */
  readonly kind: number | null;
}

/** Newest events of a room that are considered; earlier unread events count only where they mention the user. */
export const MAX_EVENTS = 2_000;
/** Such mentions that are considered. */
export const MAX_MENTIONS = 1_000;

const COLUMNS = `e.room, e.nid, e.sender, e.flags, root.event_id as root_id,
     case when root.event_id is null then ${ofThreaded('e', 'json')} end as json, m.kind`;
const JOINED = `${joinRelated('e')}
   left join events root on root.room = e.room and root.nid = ${ofThreaded('e', 'rel')}`;

/** Mentions of the user ($1) at or before the `floor` of a room, in `u`; `$5` is the type of memberships. */
const OLDER_MENTIONS = `
   select ${COLUMNS} from u
   cross join lateral (
     select * from mention x where u.floor > u.after and x.user_nid = $1 and x.room = u.room and x.pos > u.after and x.pos <= u.floor and x.kind <> 0
     order by x.pos desc limit ${MAX_MENTIONS}
   ) m
   join events e on e.room = m.room and e.nid = m.pos
   ${JOINED}
   where e.flags & ${HIDDEN_FLAGS} = 0 and e.sender <> $1 and e.redacted_by is null and not exists (
     select 1 from events o where o.room = m.room and o.nid > m.pos and o.nid <= u.floor and o.sender = $1 and o.type <> $5
       and o.flags & ${EVENT_FLAGS.threaded} = e.flags & ${EVENT_FLAGS.threaded}
   )`;

const UNREAD = sql(
  'unread_events',
  `with u as materialized (
     select r.room, r.up_to, greatest(r.after, f.nid) as floor, r.after
     from unnest($2::int[], $3::bigint[], $4::bigint[]) r(room, after, up_to)
     left join lateral (
       select o.nid from events o where o.room = r.room and o.nid > r.after and o.nid <= r.up_to
       order by o.nid desc offset ${MAX_EVENTS} limit 1
     ) f on true
   )
   select ${COLUMNS} from u
   join events e on e.room = u.room and e.nid > u.floor and e.nid <= u.up_to
   left join mention m on m.user_nid = $1 and m.room = e.room and m.pos = e.nid
   ${JOINED}
   where e.flags & ${HIDDEN_FLAGS} = 0
     and case when e.sender = $1 then e.type <> $5
         else e.redacted_by is null and (e.flags & ${EVENT_FLAGS.notifies | EVENT_FLAGS.notifiesFollowers} <> 0 or m.kind is not null) end
   union all ${OLDER_MENTIONS}
   order by room, nid`,
);

/**
 * Of each room, the events with `after` < position <= `upTo` that may be unread for a user, and those that they sent, in order of position. After a
 * long absence, only the newest ones and mentions are read.
 *
 * @param memberType the integer of `m.room.member`: a change of name does not say that a user has read anything
 */
export const unreadEvents = (
  database: Database,
  user: number,
  ranges: readonly { readonly room: number; readonly after: number; readonly upTo: number }[],
  memberType: number,
): Promise<UnreadRecord[]> =>
  database.query<UnreadRecord>(UNREAD, [
    user,
    ranges.map((range) => range.room),
    ranges.map((range) => range.after),
    ranges.map((range) => range.upTo),
    memberType,
  ]);

/** The facts of an event on which the unread counts of all users depend. */
export interface WindowRecord extends Omit<UnreadRecord, 'kind'> {
  readonly is_member: boolean;
  readonly is_redacted: boolean;
}

/** Newest first in the statement, so that the index on the room's positions ends it. */
const WINDOW = sql(
  'unread_window',
  `select e.room, e.nid, e.sender, e.flags, e.type = $3 as is_member, e.redacted_by is not null as is_redacted,
     root.event_id as root_id, case when root.event_id is null then ${ofThreaded('e', 'json')} end as json
   from (
     select * from events o where o.room = $1 and o.nid > $4 and o.nid <= $2 order by o.nid desc limit ${MAX_EVENTS}
   ) e
   ${JOINED}
   order by e.nid`,
);

/**
 * The newest events of a room with `after` < position <= `upTo`, `MAX_EVENTS` at most, in order of position, including hidden ones.
 *
 * @param memberType the integer of `m.room.member`
 */
export const unreadWindow = (
  database: Database,
  { room, after, upTo }: { readonly room: number; readonly after: number; readonly upTo: number },
  memberType: number,
): Promise<WindowRecord[]> => database.query<WindowRecord>(WINDOW, [room, upTo, memberType, after]);

const MENTIONS = sql(
  'unread_mentions',
  `with u as materialized (
     select * from unnest($2::int[], $3::bigint[], $4::bigint[], $6::bigint[]) r(room, after, up_to, floor)
   )
   select m.room, m.pos as nid, 0 as sender, 0 as flags, null::bytea as root_id, null as json, m.kind
   from u join mention m on m.user_nid = $1 and m.room = u.room and m.pos > u.floor and m.pos <= u.up_to
   union all ${OLDER_MENTIONS}
   order by room, nid`,
);

/**
 * The user's exceptions for events with `floor` < position <= `upTo` (position and kind only), and the mentions of them with
 * `after` < position <= `floor` (all columns), in order of position.
 *
 * @param memberType the integer of `m.room.member`
 */
export const unreadMentions = (
  database: Database,
  user: number,
  ranges: readonly { readonly room: number; readonly after: number; readonly upTo: number; readonly floor: number }[],
  memberType: number,
): Promise<UnreadRecord[]> =>
  database.query<UnreadRecord>(MENTIONS, [
    user,
    ranges.map((range) => range.room),
    ranges.map((range) => range.after),
    ranges.map((range) => range.upTo),
    memberType,
    ranges.map((range) => range.floor),
  ]);
