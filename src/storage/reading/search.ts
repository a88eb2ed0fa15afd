import type { Database } from '../database.ts';
import { sql, type Statement, UNHURRIED } from '../statement.ts';
import { arrayLiteral } from '../array-literal.ts';

/** What is found of an event: hashes of its grams in its room. */
export interface SearchDocRow {
  readonly room: number;
  readonly ts: number;
  readonly event: number;
  readonly grams: readonly number[];
}

/** An event's place in the order of search: by time, then by position. */
export interface SearchPlace {
  readonly ts: number;
  readonly event: number;
}

/** An event whose text may hold what is searched for. */
export interface SearchCandidate extends SearchPlace {
  readonly room: number;
  /** Bytes of the event. */
  readonly bytes: number;
}

/** One room in which is searched. */
export interface SearchedRoom {
  readonly room: number;
  /** Only events up to this position. */
  readonly upTo: number;
  /** Hashes of the wanted grams in this room, in the same order for every room. */
  readonly grams: readonly number[];
}

export interface CandidateQuery {
  readonly rooms: readonly SearchedRoom[];
  /** Only what comes before this place. */
  readonly before: SearchPlace;
  /** Integers of senders and event types; undefined for all. */
  readonly senders: readonly number[] | undefined;
  readonly types: readonly number[] | undefined;
  readonly limit: number;
}

/** What a walk through the newest events of some rooms met. */
export interface Walk {
  readonly candidates: readonly SearchCandidate[];
  /** Up to where nothing was left out; undefined when the walk came to the end of all rooms. */
  readonly horizon: SearchPlace | undefined;
  /** How many events were looked at, and how many of them are candidates, handed out or not. */
  readonly scanned: number;
  readonly matching: number;
  /** The time of the last one of as many candidates as are wanted: older ones are not among the newest. Undefined for fewer. */
  readonly floor: number | undefined;
}

const INSERT = sql(
  'search_insert',
  `with ${UNHURRIED}
   insert into search_docs (room, ts, event, grams)
   select d.room, d.ts, d.event, d.grams::int[] from unhurried, unnest($1::int[], $2::bigint[], $3::bigint[], $4::text[])
     d(room, ts, event, grams)
   join rooms r on r.nid = d.room and not r.gone
   on conflict do nothing`,
);
const FORGET_REDACTED = sql(
  'search_forget_redacted',
  `delete from search_docs d using events e
   where e.event_id = any($1::bytea[]) and e.redacted_by is not null and d.room = e.room and d.ts = e.ts and d.event = e.nid`,
);
const FORGET_EVENTS = sql(
  'search_forget_events',
  `delete from search_docs d using events e
   where e.room = $1 and e.nid = any($2::bigint[]) and d.room = e.room and d.ts = e.ts and d.event = e.nid`,
);
const FORGET_ROOMS = sql('search_forget_rooms', 'delete from search_docs where room = any($1::int[])');

const WANTED_EVENT = `($6::int[] is null and $7::int[] is null or exists (
  select 1 from events e where e.room = d.room and e.nid = d.event
    and ($6::int[] is null or e.sender = any($6)) and ($7::int[] is null or e.type = any($7))))`;

/** The length of a text is known without reading it. */
const bytesOf = (row: string): string =>
  `(select octet_length(e.json) from events e where e.room = ${row}.room and e.nid = ${row}.event)`;

// $1 rooms, $2 their limits, $3 and $4 the place before which is searched, $5 how many at most, $6 senders, $7 types.
const WALK = sql(
  'search_walk',
  `with wanted as materialized (
    select u.room, u.up_to, u.grams::int[] as grams from unnest($1::int[], $2::bigint[], $9::text[]) u(room, up_to, grams)
  ), walked as materialized (
    select u.room, u.grams, l.* from wanted u cross join lateral (
      select d.ts, d.event, d.grams as found, row_number() over (order by d.ts desc, d.event desc) as step
      from search_docs d
      where d.room = u.room and (d.ts, d.event) < ($3, $4) and d.event <= u.up_to and d.ts >= $10
      order by d.ts desc, d.event desc limit $8
    ) l
  ), horizon as materialized (
    select ts, event from walked where step = $8 order by ts desc, event desc limit 1
  ), matching as materialized (
    select d.room, d.ts, d.event from walked d where d.found @> d.grams and ${WANTED_EVENT}
  ), hits as (
    select d.room, d.ts, d.event from matching d
    where (d.ts, d.event) >= (select ts, event from horizon) or not exists (select 1 from horizon)
    order by d.ts desc, d.event desc limit $5
  )
  select h.room, h.ts, h.event, ${bytesOf('h')} as bytes, z.ts as horizon_ts, z.event as horizon_event, (select count(*) from walked) as scanned,
    (select count(*) from matching) as matching,
    (select ts from matching order by ts desc offset $5 - 1 limit 1) as floor
  from (select 1) one left join horizon z on true left join hits h on true order by h.ts desc, h.event desc`,
);

const MAX_GRAMS = 4;

/** The hashes hold the room: whatever has them is in one of the rooms, but for collisions. */
const lookUp = (name: string, condition: string): Statement =>
  sql(
    name,
    `with found as materialized (
      select d.room, d.ts, d.event from search_docs d where ${condition} and (d.ts, d.event) < ($3, $4)
    )
    select c.room, c.ts, c.event, c.total, ${bytesOf('c')} as bytes from (
      select d.room, d.ts, d.event, count(*) over () as total
      from found d join unnest($1::int[], $2::bigint[]) u(room, up_to) on u.room = d.room and d.event <= u.up_to
      where ${WANTED_EVENT} order by d.ts desc, d.event desc limit $5
    ) c order by c.ts desc, c.event desc`,
  );

const LOOK_UP_IN_ROOM = lookUp('search_look_up_in_room', 'd.grams @> $8::int[]');
const LOOK_UP = Array.from({ length: MAX_GRAMS }, (_, index) =>
  lookUp(
    `search_look_up_${index + 1}`,
    Array.from({ length: index + 1 }, (__, i) => `d.grams && $${8 + i}::int[]`).join(' and '),
  ),
);

/** Adds documents; those that are there stay as they are. */
export const insertSearchDocs = async (database: Database, rows: readonly SearchDocRow[]): Promise<void> => {
  if (rows.length === 0) return;
  await database.query(INSERT, [
    rows.map((row) => row.room),
    rows.map((row) => row.ts),
    rows.map((row) => row.event),
    rows.map((row) => arrayLiteral(row.grams)),
  ]);
};

/** Removes those of these events that are redacted. */
export const forgetRedactedDocs = async (database: Database, eventIds: readonly Buffer[]): Promise<void> => {
  if (eventIds.length > 0) await database.query(FORGET_REDACTED, [eventIds]);
};

/** Removes events of a room that are still there, and about to go. */
export const forgetEventDocs = async (database: Database, room: number, events: readonly number[]): Promise<void> => {
  if (events.length > 0) await database.query(FORGET_EVENTS, [room, events]);
};

export const forgetRoomDocs = async (database: Database, rooms: readonly number[]): Promise<void> => {
  if (rooms.length > 0) await database.query(FORGET_ROOMS, [rooms]);
};

interface WalkRow {
  readonly room: number | null;
  readonly bytes: number | null;
  readonly ts: number;
  readonly event: number;
  readonly horizon_ts: number | null;
  readonly horizon_event: number;
  readonly scanned: number;
  readonly matching: number;
  readonly floor: number | null;
}

const commonValues = (query: CandidateQuery): unknown[] => [
  query.rooms.map((room) => room.room),
  query.rooms.map((room) => room.upTo),
  query.before.ts,
  query.before.event,
  query.limit,
  query.senders ?? null,
  query.types ?? null,
];

/**
 * Looks through the newest `perRoom` texts of each room: the way to what is said often.
 *
 * @param floor only texts from this time on
 */
export const walkSearchDocs = async (
  database: Database,
  query: CandidateQuery,
  perRoom: number,
  floor?: number,
): Promise<Walk> => {
  const rows = await database.query<WalkRow>(WALK, [
    ...commonValues(query),
    perRoom,
    query.rooms.map((room) => arrayLiteral(room.grams)),
    floor ?? -Number.MAX_SAFE_INTEGER,
  ]);
  const first = rows[0];
  return {
    candidates: rows.flatMap(({ room, ts, event, bytes }) =>
      room === null ? [] : [{ room, ts, event, bytes: bytes ?? 0 }],
    ),
    horizon:
      first === undefined || first.horizon_ts === null
        ? undefined
        : { ts: first.horizon_ts, event: first.horizon_event },
    scanned: first?.scanned ?? 0,
    matching: first?.matching ?? 0,
    floor: first?.floor ?? undefined,
  };
};

/** Looks grams up in the index: the way to what is said seldom. Newest first, with the number of all that come before the place. */
export const lookUpSearchDocs = async (
  database: Database,
  query: CandidateQuery,
): Promise<{ readonly candidates: readonly SearchCandidate[]; readonly total: number }> => {
  const { rooms } = query;
  const grams = rooms[0]?.grams ?? [];
  const isOne = rooms.length === 1;
  const used = Math.min(grams.length, MAX_GRAMS);
  const statement = isOne ? LOOK_UP_IN_ROOM : LOOK_UP[used - 1];
  if (statement === undefined) return { candidates: [], total: 0 };
  const wanted = isOne
    ? [grams]
    : Array.from({ length: used }, (_, index) => rooms.map((room) => room.grams[index] ?? 0));
  const rows = await database.query<SearchCandidate & { readonly total: number }>(statement, [
    ...commonValues(query),
    ...wanted,
  ]);
  return {
    candidates: rows.map(({ room, ts, event, bytes }) => ({ room, ts, event, bytes: bytes ?? 0 })),
    total: rows[0]?.total ?? 0,
  };
};

const DEPTHS = sql(
  'search_room_depths',
  'select sum(depth)::bigint as depth from room_tail where room = any($1::int[])',
);

/** About how many events these rooms have. */
export const eventsInRooms = async (database: Database, rooms: readonly number[]): Promise<number> =>
  (await database.query<{ depth: number | null }>(DEPTHS, [rooms]))[0]?.depth ?? 0;

const TEXTS = sql(
  'search_texts',
  `select e.nid, e.json from unnest($1::int[], $2::bigint[]) u(room, nid)
   join events e on e.room = u.room and e.nid = u.nid and e.redacted_by is null`,
);

/** The JSON of events. */
export const textsOf = (
  database: Database,
  events: readonly { readonly room: number; readonly nid: number }[],
): Promise<{ nid: number; json: string }[]> =>
  database.query(TEXTS, [events.map(({ room }) => room), events.map(({ nid }) => nid)]);

const KNOWN_USERS = sql('search_known_users', 'select nid from users where user_id = any($1::text[])');

/** The integers of those of these users that this server has heard of. */
export const knownUsers = async (database: Database, userIds: readonly string[]): Promise<number[]> =>
  (await database.query<{ nid: number }>(KNOWN_USERS, [userIds])).map((row) => row.nid);
