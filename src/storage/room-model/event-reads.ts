import { HIDDEN_FLAGS } from '#src/protocol/events/event-flags.ts';
import type { Database } from '../database.ts';
import { sql } from '../statement.ts';

/** A stored event. Arrays and columns that only the writer needs are left out. */
export interface EventRecord {
  readonly room: number;
  readonly nid: number;
  readonly topo: number;
  readonly event_id: Buffer;
  readonly skey: number | null;
  readonly state: number;
  readonly flags: number;
  readonly replaces: number | null;
  readonly redacted_by: number | null;
  /** The room's state after the event was accepted, where the event is not all that changed it. */
  readonly current_state: number | null;
  /** The id of the delayed event as which it was scheduled, if it was. */
  readonly delay_id: string | null;
  /** The device that sent it, and its transaction id. */
  readonly sent_by: string | null;
  readonly json: string;
}

/** Columns of `EventRecord`, of `events e`. */
export const EVENT_COLUMNS =
  'e.room, e.nid, e.topo, e.event_id, e.skey, e.state, e.flags, e.replaces, e.redacted_by, e.current_state, e.delay_id, e.sent_by, e.json';

const EVENTS_BY_NID = sql(
  'events_by_nid',
  `select ${EVENT_COLUMNS} from unnest($1::int[], $2::bigint[]) u(room, nid) join events e on e.room = u.room and e.nid = u.nid`,
);

const EVENTS_BY_NID_UP_TO = sql(
  'events_by_nid_up_to',
  `select ${EVENT_COLUMNS} from (
     select e.*, sum(octet_length(e.json)) over (order by u.place rows unbounded preceding) as bytes
     from unnest($1::int[], $2::bigint[]) with ordinality u(room, nid, place) join events e on e.room = u.room and e.nid = u.nid
   ) e where e.bytes <= $3`,
);

const SENT_BY_OTHERS = sql(
  'events_sent_by_others',
  `select e.room from unnest($1::int[], $2::bigint[]) u(room, nid) join events e on e.room = u.room and e.nid = u.nid where e.sender <> $3`,
);

const EVENT_BY_ID = sql('event_by_id', `select ${EVENT_COLUMNS} from events e where e.event_id = $1`);

const NEWEST_EVENTS = sql(
  'events_newest',
  `select l.* from unnest($1::int[], $2::bigint[], $3::bigint[]) u(room, after, up_to) cross join lateral (
    select ${EVENT_COLUMNS} from (
      select *, sum(octet_length(json)) over (order by nid desc rows unbounded preceding) as bytes from events
      where room = u.room and nid > u.after and nid <= u.up_to and flags & ${HIDDEN_FLAGS} = 0
      order by nid desc limit $4
    ) e where e.bytes - octet_length(e.json) < $5 order by e.nid desc
  ) l`,
);

const PAGE_BACK = sql(
  'events_page_back',
  `select ${EVENT_COLUMNS} from (
    select e.*, sum(octet_length(e.json)) over (order by e.topo desc, e.nid desc rows unbounded preceding) as bytes from events e
    where e.room = $1 and (e.topo, e.nid) < ($2, $3) and e.nid <= $4 and e.flags & ${HIDDEN_FLAGS} = 0
      and ($5::int[] is null or e.type = any($5)) and ($6::int[] is null or e.sender = any($6))
    order by e.topo desc, e.nid desc limit $7
  ) e where e.bytes - octet_length(e.json) < $8 order by e.topo desc, e.nid desc`,
);

const PAGE_FORTH = sql(
  'events_page_forth',
  `select ${EVENT_COLUMNS} from (
    select e.*, sum(octet_length(e.json)) over (order by e.topo, e.nid rows unbounded preceding) as bytes from events e
    where e.room = $1 and (e.topo, e.nid) >= ($2, $3) and e.nid <= $4 and e.flags & ${HIDDEN_FLAGS} = 0
      and ($5::int[] is null or e.type = any($5)) and ($6::int[] is null or e.sender = any($6))
    order by e.topo, e.nid limit $7
  ) e where e.bytes - octet_length(e.json) < $8 order by e.topo, e.nid`,
);

export const eventsByNid = (
  database: Database,
  wanted: readonly { readonly room: number; readonly nid: number }[],
): Promise<EventRecord[]> =>
  database.query<EventRecord>(EVENTS_BY_NID, [wanted.map((one) => one.room), wanted.map((one) => one.nid)]);

/** The first ones of these events, in their order, that have so many bytes together. */
export const eventsByNidUpTo = (
  database: Database,
  wanted: readonly { readonly room: number; readonly nid: number }[],
  maxBytes: number,
): Promise<EventRecord[]> =>
  database.query<EventRecord>(EVENTS_BY_NID_UP_TO, [
    wanted.map((one) => one.room),
    wanted.map((one) => one.nid),
    Math.floor(maxBytes),
  ]);

export const eventById = async (database: Database, eventId: Buffer): Promise<EventRecord | undefined> =>
  (await database.query<EventRecord>(EVENT_BY_ID, [eventId]))[0];

/** Rooms whose named event was not sent by a user. */
export const sentByOthers = async (
  database: Database,
  events: readonly { readonly room: number; readonly nid: number }[],
  user: number,
): Promise<ReadonlySet<number>> => {
  const rows = await database.query<{ room: number }>(SENT_BY_OTHERS, [
    events.map(({ room }) => room),
    events.map(({ nid }) => nid),
    user,
  ]);
  return new Set(rows.map(({ room }) => room));
};

/** Of each room, the newest `limit` events that clients may be shown with `after` < position <= `upTo`, newest first; no more once they have `bytes`. */
export const newestEvents = (
  database: Database,
  ranges: readonly { readonly room: number; readonly after: number; readonly upTo: number }[],
  limit: number,
  bytes = Number.MAX_SAFE_INTEGER,
): Promise<EventRecord[]> =>
  database.query<EventRecord>(NEWEST_EVENTS, [
    ranges.map((range) => range.room),
    ranges.map((range) => range.after),
    ranges.map((range) => range.upTo),
    limit,
    bytes,
  ]);

export interface PageQuery {
  readonly room: number;
  readonly from: { readonly topo: number; readonly nid: number };
  readonly upTo: number;
  /** Event types and senders as integers; undefined for all. */
  readonly types: readonly number[] | undefined;
  readonly senders: readonly number[] | undefined;
  readonly limit: number;
  /** Bytes of JSON after which it ends, one event at least; any number, when left out. */
  readonly maxBytes?: number;
}

const pageValues = (page: PageQuery): unknown[] => [
  page.room,
  page.from.topo,
  page.from.nid,
  page.upTo,
  page.types ?? null,
  page.senders ?? null,
  page.limit,
  Math.floor(page.maxBytes ?? Number.MAX_SAFE_INTEGER),
];

/** Events before `from` in topological order, nearest first. */
export const pageBack = (database: Database, page: PageQuery): Promise<EventRecord[]> =>
  database.query<EventRecord>(PAGE_BACK, pageValues(page));

/** Events from `from` on (inclusive) in topological order. */
export const pageForth = (database: Database, page: PageQuery): Promise<EventRecord[]> =>
  database.query<EventRecord>(PAGE_FORTH, pageValues(page));
