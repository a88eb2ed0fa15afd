import { EVENT_FLAGS, HIDDEN_FLAGS } from '#src/protocol/events/event-flags.ts';
import type { Database, Tx } from '../database.ts';
import { EVENT_COLUMNS, type EventRecord } from '../room-model/event-reads.ts';
import { sql } from '../statement.ts';

/** Events of a room that a server has not been sent. */
export interface DestinationRoomRow {
  readonly destination: string;
  readonly room: number;
  /** They come after this position. */
  readonly after: number;
  /** The last one that concerns the server; null when it still takes part in the room. */
  readonly upTo: number | null;
  /** The server is to be sent our events that are sticky, those after this position; null when it has them. */
  readonly stickyAfter: number | null;
}

/** Out-of-band memberships, with which users of this server joined or left rooms: other servers send those. */
const NEVER_SENT = HIDDEN_FLAGS | EVENT_FLAGS.afterGap;

const PAGE = sql(
  'destination_rooms_page',
  `select d.destination, d.room, d.after, d.up_to as "upTo", d.sticky_after as "stickyAfter", r.room_id as "roomId"
   from destination_rooms d join rooms r on r.nid = d.room
   where (d.destination, d.room, d.after) > ($1, $2, $3) order by d.destination, d.room, d.after limit $4`,
);
const DELETE = sql(
  'destination_rooms_delete',
  `delete from destination_rooms d using unnest($1::text[], $2::int[]) g(destination, room)
   where d.destination = g.destination and d.room = g.room`,
);
const INSERT = sql(
  'destination_rooms_insert',
  `insert into destination_rooms (destination, room, after, up_to, sticky_after)
   select * from unnest($1::text[], $2::int[], $3::bigint[], $4::bigint[], $5::bigint[]) on conflict do nothing`,
);
const OWN_EVENTS = sql(
  'destination_events',
  `select ${EVENT_COLUMNS} from events e join users u on u.nid = e.sender
   where e.room = $1 and e.nid > $2 and e.nid <= $3 and (u.local or e.flags & ${EVENT_FLAGS.sentOn} <> 0)
     and e.flags & ${NEVER_SENT} = 0 order by e.nid limit $4`,
);
const NEWEST_OWN_EVENT = sql(
  'destination_newest_event',
  `select ${EVENT_COLUMNS} from events e join users u on u.nid = e.sender
   where e.room = $1 and e.nid > $2 and e.nid <= $3 and (u.local or e.flags & ${EVENT_FLAGS.sentOn} <> 0)
     and e.flags & ${NEVER_SENT} = 0 order by e.nid desc limit 1`,
);
const SHARES_ROOM = sql(
  'destination_shares_room',
  `select 1 from users u join member m on m.user_nid = u.nid and m.membership = 1
   where not u.local and substring(u.user_id from position(':' in u.user_id) + 1) = $1
     and exists (select 1 from member o where o.room = m.room and o.local and o.membership = 1) limit 1`,
);

/** The same as it is read. */
export interface KeptDestinationRoom extends DestinationRoomRow {
  readonly roomId: string;
}

/** Rows in order, from after one. */
export const destinationRooms = (
  database: Database,
  after: Pick<DestinationRoomRow, 'destination' | 'room' | 'after'>,
  limit: number,
): Promise<KeptDestinationRoom[]> =>
  database.query<KeptDestinationRoom>(PAGE, [after.destination, after.room, after.after, limit]);

/** Puts `rows` in the place of all rows of these destinations and rooms. */
export const replaceDestinationRooms = async (
  tx: Tx,
  changed: readonly { readonly destination: string; readonly room: number }[],
  rows: readonly DestinationRoomRow[],
): Promise<void> => {
  if (changed.length > 0)
    await tx.query(DELETE, [changed.map(({ destination }) => destination), changed.map(({ room }) => room)]);
  if (rows.length > 0)
    await tx.query(INSERT, [
      rows.map(({ destination }) => destination),
      rows.map(({ room }) => room),
      rows.map(({ after }) => after),
      rows.map(({ upTo }) => upTo),
      rows.map(({ stickyAfter }) => stickyAfter),
    ]);
};

export interface EventSpan {
  readonly room: number;
  readonly after: number;
  readonly upTo: number;
}

/** Events that this server sends to others, with `after` < position <= `upTo`, oldest first. */
export const eventsToSend = (
  database: Database,
  { room, after, upTo }: EventSpan,
  limit: number,
): Promise<EventRecord[]> => database.query<EventRecord>(OWN_EVENTS, [room, after, upTo, limit]);

/** The newest of them. */
export const newestEventToSend = async (
  database: Database,
  { room, after, upTo }: EventSpan,
): Promise<EventRecord | undefined> => (await database.query<EventRecord>(NEWEST_OWN_EVENT, [room, after, upTo]))[0];

/** Whether a user of a server is in a room with one of ours. */
export const sharesRoomWithServer = async (database: Database, serverName: string): Promise<boolean> =>
  (await database.query(SHARES_ROOM, [serverName])).length > 0;
