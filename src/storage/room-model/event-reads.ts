import { EVENT_FLAGS, HIDDEN_FLAGS } from '#src/protocol/events/event-flags.ts';
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

export interface RoomRecord {
  readonly nid: number;
  readonly room_id: string;
  readonly version: string;
  readonly shard: number;
  readonly creator: number;
  readonly room_type: string | null;
  readonly is_public: boolean;
  readonly extremities: readonly number[];
  readonly state: number;
  readonly depth: number;
  readonly last_pos: number;
  /** From `partial_rooms`; null for rooms with full state. */
  readonly partial_state: number | null;
  readonly join_pos: number | null;
  readonly via: string | null;
  readonly servers: string | null;
  readonly before: string | null;
  readonly full_pos: number | null;
}

export interface StateDeltaRecord {
  /** The state that was asked for. */
  readonly state: number;
  readonly nid: number;
  readonly seq: number;
  /** Entries as `protocol/wire/packed-state.ts` packs them. */
  readonly others: Buffer;
  readonly members: Buffer;
}

export interface MemberRecord {
  readonly room: number;
  readonly user_nid: number;
  readonly membership: number;
  readonly event: number;
  readonly since: number;
  readonly local: boolean;
  readonly forgotten: boolean;
}

/** Columns of `EventRecord`, of `events e`. */
export const EVENT_COLUMNS =
  'e.room, e.nid, e.topo, e.event_id, e.skey, e.state, e.flags, e.replaces, e.redacted_by, e.current_state, e.delay_id, e.sent_by, e.json';

const ROOM_COLUMNS = `r.nid, r.room_id, r.version, r.shard, r.creator, r.room_type, r.is_public,
  t.extremities, t.state, t.depth, t.last_pos, p.state as partial_state, p.join_pos, p.via, p.servers, p.before, p.full_pos`;
const ROOMS = 'rooms r join room_tail t on t.room = r.nid left join partial_rooms p on p.room = r.nid';
const ROOMS_BY_NID = sql(
  'rooms_by_nid',
  `select ${ROOM_COLUMNS} from ${ROOMS} where r.nid = any($1::int[]) and not r.gone`,
);
const RESERVE_ROOMS = sql(
  'rooms_reserve',
  `select nextval('rooms_nid_seq')::int as nid from generate_series(1, $1::int)`,
);
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
const NIDS_BY_ID = sql(
  'event_nids_by_id',
  'select event_id, nid, room, flags from events where event_id = any($1::bytea[])',
);
const IDS_BY_NID = sql(
  'event_ids_by_nid',
  'select nid, event_id from events where room = $1 and nid = any($2::bigint[])',
);
const STATES_OF = sql('event_states', 'select nid, state from events where room = $1 and nid = any($2::bigint[])');
const STATE_KEYS_BY_ID = sql(
  'event_state_keys_by_id',
  `select event_id, nid, skey from events where room = $1 and event_id = any($2::bytea[])
   and skey is not null and flags & ${EVENT_FLAGS.rejected} = 0`,
);
const AUTH_EDGES = sql(
  'events_auth_edges',
  'select nid, auth from events where room = $1 and nid > $2 and skey is not null order by nid',
);
const AUTH_EDGES_OF = sql(
  'events_auth_edges_of',
  'select nid, auth from events where room = $1 and nid = any($2::bigint[])',
);
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
const STATE_AT = sql(
  'state_at_position',
  `select l.room, l.nid, l.state, l.flags, l.current_state from unnest($1::int[], $2::bigint[]) u(room, up_to) cross join lateral (
    select e.room, e.nid, e.state, e.flags, e.current_state from events e
    where e.room = u.room and e.nid > 0 and e.nid <= u.up_to and e.flags & ${HIDDEN_FLAGS} = 0 order by e.nid desc limit 1
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
/** A lateral table of the ids (`nids`) of the rows that make the state `s` up: its chain, as `protocol/wire/packed-state.ts` packs it. */
export const ROWS_OF_STATE = `(
    select array(
      select s.nid - ('x' || lpad(encode(substr(s.chain, 2 + i * get_byte(s.chain, 0), get_byte(s.chain, 0)), 'hex'), 16, '0'))::bit(64)::bigint
      from generate_series(0, case when length(s.chain) = 0 then -1 else (length(s.chain) - 1) / get_byte(s.chain, 0) - 1 end) i
    ) || s.nid as nids offset 0
  )`;
const STATE_CHAIN = sql(
  'state_chain',
  `select s.nid as state, d.nid, d.seq, d.others, d.members
   from state_delta s cross join lateral ${ROWS_OF_STATE} c join state_delta d on d.nid = any(c.nids)
   where s.nid = any($1::bigint[]) order by s.nid, d.seq`,
);
const MEMBERS_OF_ROOM = sql(
  'members_of_room',
  'select room, user_nid, membership, event, since, local, forgotten from member where room = any($1::int[])',
);
const ROOMS_OF_USER = sql(
  'rooms_of_user',
  'select room, user_nid, membership, event, since, local, forgotten from member where user_nid = $1',
);
const ROOMS_IN_SYNC = sql(
  'rooms_in_sync_of_user',
  `select m.room, m.user_nid, m.membership, m.event, m.since, m.local, m.forgotten,
     r.nid, r.room_id, r.version, r.shard, t.last_pos, p.state as partial_state, p.join_pos, p.via, p.servers, p.before, p.full_pos
   from member m left join rooms r on m.membership = 1 and r.nid = m.room and not r.gone
     left join room_tail t on t.room = r.nid left join partial_rooms p on p.room = r.nid
   where m.user_nid = $1`,
);
const TXNS = sql('txns_by_key', 'select key, event_id from txn where key = any($1::uuid[])');
const ANY_TXN = sql('txn_any', 'select 1 from txn limit 1');
const SHARDS_CLAIM = sql(
  'shards_claim',
  'update shards set epoch = epoch + 1 where id = any($1::smallint[]) returning id, epoch, seq',
);
const SHARD_EPOCHS = sql('shard_epochs', 'select id, epoch from shards where id = any($1::smallint[])');
const EVENT_EXISTS = sql('event_exists', 'select 1 from events where room = $1 and nid = $2');
const FORGET = sql(
  'member_forget',
  'update member set forgotten = true where room = $1 and user_nid = $2 and membership <> 1',
);

export const roomsByNid = (database: Database, nids: readonly number[]): Promise<RoomRecord[]> =>
  database.query<RoomRecord>(ROOMS_BY_NID, [nids]);

/** Reserves room numbers, so that a new room's row is written together with its first events. */
export const reserveRoomNids = async (database: Database, count: number): Promise<number[]> =>
  (await database.query<{ nid: number }>(RESERVE_ROOMS, [count])).map((row) => row.nid);

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

/** The ids of events. */
export const idsByNid = (
  database: Database,
  room: number,
  nids: readonly number[],
): Promise<{ nid: number; event_id: Buffer }[]> => database.query(IDS_BY_NID, [room, nids]);

/** The ids of the states before events. */
export const statesOfEvents = (
  database: Database,
  room: number,
  nids: readonly number[],
): Promise<{ nid: number; state: number }[]> => database.query(STATES_OF, [room, nids]);

/** The position of an event. */
export interface EventPosition {
  readonly event_id: Buffer;
  readonly nid: number;
  readonly room: number;
  readonly flags: number;
}

/** Where events are. What is unknown is left out. */
export const positionsById = (database: Database, eventIds: readonly Buffer[]): Promise<EventPosition[]> =>
  database.query(NIDS_BY_ID, [eventIds]);

/** The entries that state events make in a state. What is rejected, no state event or not in the room is left out. */
export const stateEntriesById = (
  database: Database,
  room: number,
  eventIds: readonly Buffer[],
): Promise<{ event_id: Buffer; nid: number; skey: number }[]> => database.query(STATE_KEYS_BY_ID, [room, eventIds]);

/** Which events the state events of a room, from a position on, name as their auth events. */
export const authEdges = (
  database: Database,
  room: number,
  after: number,
): Promise<{ nid: number; auth: readonly number[] }[]> => database.query(AUTH_EDGES, [room, after]);

/** The same of certain events; unknown ones are left out. */
export const authEdgesOf = (
  database: Database,
  room: number,
  nids: readonly number[],
): Promise<{ nid: number; auth: readonly number[] }[]> => database.query(AUTH_EDGES_OF, [room, nids]);

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

/** Of each room, the last event at or before a position: its state (and itself, when a state event) is the state there. */
export const stateAtPositions = (
  database: Database,
  wanted: readonly { readonly room: number; readonly upTo: number }[],
): Promise<{ room: number; nid: number; state: number; flags: number; current_state: number | null }[]> =>
  database.query(STATE_AT, [wanted.map((one) => one.room), wanted.map((one) => one.upTo)]);

/** Id of the state that a room had after the event that arrived last. */
export const stateIdAfter = (last: Pick<EventRecord, 'nid' | 'state' | 'flags' | 'current_state'>): number =>
  last.current_state ?? ((last.flags & EVENT_FLAGS.state) === 0 ? last.state : last.nid);

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

/** The rows of which each state consists, oldest first; at most 8 for a state. */
export const stateChains = (database: Database, states: readonly number[]): Promise<StateDeltaRecord[]> =>
  database.query<StateDeltaRecord>(STATE_CHAIN, [states]);

export const membersOfRooms = (database: Database, rooms: readonly number[]): Promise<MemberRecord[]> =>
  database.query<MemberRecord>(MEMBERS_OF_ROOM, [rooms]);

/** What is asked of a room to know whether there is news in it. */
export type RoomStubRecord = Pick<
  RoomRecord,
  | 'nid'
  | 'room_id'
  | 'version'
  | 'shard'
  | 'last_pos'
  | 'partial_state'
  | 'join_pos'
  | 'via'
  | 'servers'
  | 'before'
  | 'full_pos'
>;

/** All memberships of a user, with what is asked of the rooms that they are in. */
export const roomsInSync = (
  database: Database,
  user: number,
): Promise<(MemberRecord & { [Name in keyof RoomStubRecord]: RoomStubRecord[Name] | null })[]> =>
  database.query(ROOMS_IN_SYNC, [user]);

export const roomsOfUser = (database: Database, user: number): Promise<MemberRecord[]> =>
  database.query<MemberRecord>(ROOMS_OF_USER, [user]);

/** The events that earlier requests with these transaction ids made. */
export const eventsOfTxns = async (database: Database, keys: readonly string[]): Promise<Map<string, string>> => {
  const rows = await database.query<{ key: string; event_id: string }>(TXNS, [keys]);
  return new Map(rows.map((row) => [row.key, row.event_id]));
};

/** Whether any transaction id is stored at all. */
export const hasTxns = async (database: Database): Promise<boolean> => (await database.query(ANY_TXN)).length > 0;

/** Claims shards: from now on, batches of an older epoch match no row. */
export const claimShards = (
  database: Database,
  shards: readonly number[],
): Promise<{ id: number; epoch: number; seq: number }[]> => database.query(SHARDS_CLAIM, [shards]);

/** The present epochs of shards. */
export const shardEpochs = (database: Database, shards: readonly number[]): Promise<{ id: number; epoch: number }[]> =>
  database.query(SHARD_EPOCHS, [shards]);

/** Whether a batch that this event was part of has been committed. */
export const eventExists = async (database: Database, room: number, nid: number): Promise<boolean> =>
  (await database.query(EVENT_EXISTS, [room, nid])).length > 0;

/** Marks a left room as forgotten. */
export const forgetRoom = async (database: Database, room: number, user: number): Promise<void> => {
  await database.query(FORGET, [room, user]);
};
