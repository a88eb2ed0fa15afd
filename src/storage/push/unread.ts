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
  /** Only where the root of a thread is not known: of the event that names it. */
  readonly json: string | null;
  /** The user's exception from the event's class. */
  readonly kind: number | null;
}

const UNREAD = sql(
  'unread_events',
  `select e.room, e.nid, e.sender, e.flags, root.event_id as root_id,
     case when root.event_id is null then ${ofThreaded('e', 'json')} end as json, m.kind
   from unnest($2::int[], $3::bigint[], $4::bigint[]) u(room, after, up_to)
   join events e on e.room = u.room and e.nid > u.after and e.nid <= u.up_to
   left join mention m on m.user_nid = $1 and m.room = e.room and m.pos = e.nid
   ${joinRelated('e')}
   left join events root on root.room = e.room and root.nid = ${ofThreaded('e', 'rel')}
   where e.flags & ${HIDDEN_FLAGS} = 0
     and case when e.sender = $1 then e.type <> $5
         else e.redacted_by is null and (e.flags & ${EVENT_FLAGS.notifies | EVENT_FLAGS.notifiesFollowers} <> 0 or m.kind is not null) end
   order by e.room, e.nid`,
);

/**
 * Of each room, what may be unread for a user with `after` < position <= `upTo`, and what they sent there, in order of position.
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
