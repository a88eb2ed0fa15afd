import { EVENT_FLAGS } from '#src/protocol/events/event-flags.ts';
import type { Database } from '../database.ts';
import { sql } from '../statement.ts';

/** A place in a walk through a room's history, the newest first. */
export interface HistoryPlace {
  readonly topo: number;
  readonly nid: number;
}

/** An event of a user. */
export interface SentEvent extends HistoryPlace {
  readonly eventId: Buffer;
  readonly flags: number;
}

/** The events found in a part of a room's history. */
export interface SentEventsPage {
  readonly events: readonly SentEvent[];
  /** Where the next part begins; undefined at the beginning of the history. */
  readonly next: HistoryPlace | undefined;
}

export interface SentEventsQuery {
  readonly room: number;
  /** Number of the sender. */
  readonly sender: number;
  /** The part begins before it; at the newest event, when left out. */
  readonly before?: HistoryPlace | undefined;
  /** Numbers of types; all when left out. */
  readonly types?: readonly number[] | undefined;
  /** Bounds of `origin_server_ts`, in milliseconds since the epoch. */
  readonly beforeTs?: number | undefined;
  readonly afterTs?: number | undefined;
  /** Whether redacted events are included. */
  readonly redacted?: boolean;
  /** Events of the room that are searched. */
  readonly scan: number;
}

const UNKNOWN = EVENT_FLAGS.rejected | EVENT_FLAGS.outlier;

// An index of senders would cost something for every message. Parts of a room's history are searched in order instead.
const SENT = sql(
  'sent_events_page',
  `with looked as materialized (
     select topo, nid, event_id, type, sender, ts, flags, redacted_by from events
     where room = $1 and (topo, nid) < ($3, $4) order by topo desc, nid desc limit $9
   ), last as (select topo, nid from looked order by topo, nid limit 1)
   select l.topo, l.nid, l.event_id as "eventId", l.flags, false as "isLast" from looked l
   where l.sender = $2 and l.flags & ${UNKNOWN} = 0 and ($8 or l.redacted_by is null)
     and ($5::int[] is null or l.type = any($5)) and ($6::bigint is null or l.ts <= $6) and ($7::bigint is null or l.ts >= $7)
   union all
   select topo, nid, ''::bytea, (select count(*)::int from looked), true from last
   order by 5, 1 desc, 2 desc`,
);

const LATEST_POSITION = Number.MAX_SAFE_INTEGER;

/** Events of a sender in a part of a room's history, the newest first, including soft-failed ones. */
export const sentEvents = async (database: Database, query: SentEventsQuery): Promise<SentEventsPage> => {
  const { before, scan } = query;
  const rows = await database.query<SentEvent & { readonly isLast: boolean }>(SENT, [
    query.room,
    query.sender,
    before?.topo ?? LATEST_POSITION,
    before?.nid ?? LATEST_POSITION,
    query.types ?? null,
    query.beforeTs ?? null,
    query.afterTs ?? null,
    query.redacted === true,
    scan,
  ]);
  const last = rows.at(-1);
  if (last === undefined) return { events: [], next: undefined };
  // In the last row, `flags` is the number of searched events.
  const next = last.flags < scan ? undefined : { topo: last.topo, nid: last.nid };
  return { events: rows.slice(0, -1), next };
};

const FORGET_DEVICES = sql(
  'sent_events_forget_devices',
  `with looked as materialized (
     select room, topo, nid, sender, sent_by from events
     where room = $1 and (topo, nid) < ($3, $4) order by topo desc, nid desc limit $5
   ), forgotten as (
     update events e set sent_by = null from looked l
     where e.room = l.room and e.nid = l.nid and l.sender = $2 and l.sent_by is not null
   )
   select topo, nid, (select count(*)::int from looked) as looked from looked order by topo, nid limit 1`,
);

/**
 * Deletes the devices and transaction ids with which a sender's events were sent, in a part of a room's history.
 *
 * @returns where the next part begins; undefined at the beginning of the history
 */
export const forgetSendingDevices = async (
  database: Database,
  room: number,
  sender: number,
  before: HistoryPlace | undefined,
  scan: number,
): Promise<HistoryPlace | undefined> => {
  const place = before ?? { topo: LATEST_POSITION, nid: LATEST_POSITION };
  const [last] = await database.query<HistoryPlace & { readonly looked: number }>(FORGET_DEVICES, [
    room,
    sender,
    place.topo,
    place.nid,
    scan,
  ]);
  return last === undefined || last.looked < scan ? undefined : { topo: last.topo, nid: last.nid };
};

const ROOMS = sql(
  'rooms_joined_or_banned',
  `select r.room_id as "roomId" from users u join member m on m.user_nid = u.nid join rooms r on r.nid = m.room
   where u.user_id = $1 and m.membership = any($2::smallint[]) order by r.nid limit $3`,
);

/** Ids of rooms in which a user, of whichever server, has one of these memberships (by their numbers). */
export const roomsWithMembership = async (
  database: Database,
  userId: string,
  memberships: readonly number[],
  limit: number,
): Promise<string[]> =>
  (await database.query<{ roomId: string }>(ROOMS, [userId, memberships, limit])).map(({ roomId }) => roomId);
