import { EVENT_FLAGS, HIDDEN_FLAGS } from '#src/protocol/events/event-flags.ts';
import { unpackChain, unpackEntries } from '#src/protocol/wire/packed-state.ts';
import type { Database, Tx } from '../database.ts';
import { sql } from '../statement.ts';
import { releaseEvents } from '../media/references.ts';
import { ROWS_OF_STATE } from '../room-model/state-reads.ts';

/** Rows of state that are unpacked together: a row may hold all members of a room. */
const ROWS_AT_ONCE = 100;

/** The facts of an event that a purge needs. */
export interface PurgeScanRecord {
  readonly nid: number;
  readonly topo: number;
  /** The sender's number. */
  readonly sender: number;
  readonly ts: number;
  readonly flags: number;
  readonly state: number;
  readonly current_state: number | null;
  readonly has_skey: boolean;
  /** Of state events only. */
  readonly auth: readonly number[];
}

/** An event as it is written to an archive. */
export interface ArchivedRecord {
  readonly nid: number;
  readonly topo: number;
  readonly event_id: Buffer;
  readonly ts: number;
  readonly flags: number;
  readonly state: number;
  readonly current_state: number | null;
  readonly prev: readonly number[];
  readonly auth: readonly number[];
  readonly rel: number | null;
  readonly rel_type: string | null;
  readonly replaces: number | null;
  readonly redacted_by: number | null;
  readonly json: string;
}

export interface PurgeProgress {
  readonly cursor: number;
  readonly deleted: number;
}

/** A room with the facts that decide whether it has events to purge. */
export interface RetentionRecord {
  readonly room: number;
  /** JSON of the room's `m.room.retention`. */
  readonly json: string | null;
  /** `origin_server_ts` of its oldest event that need not be kept, in milliseconds since the epoch. */
  readonly oldest_ts: number | null;
}

const TAIL = sql('purge_tail', 'select extremities, state, last_pos from room_tail where room = $1');
const SCAN_COLUMNS = `nid, topo, sender, ts, flags, state, current_state, skey is not null as has_skey,
     case when skey is null then '{}'::bigint[] else auth end as auth`;
const SCAN = sql(
  'purge_scan',
  `select ${SCAN_COLUMNS} from events where room = $1 and nid > $2 and nid <= $3 order by nid limit $4`,
);
const SCAN_BACK = sql(
  'purge_scan_back',
  `select ${SCAN_COLUMNS} from events where room = $1 and nid < $2 order by nid desc limit $3`,
);
const DELTAS = sql('purge_deltas', 'select nid, chain from state_delta where room = $1');
const CHAINS = sql('purge_chains', 'select nid, chain from state_delta where nid = any($1::bigint[])');
const ENTRIES = sql('purge_entries', 'select nid, others, members from state_delta where nid = any($1::bigint[])');
const AUTH = sql('purge_auth', 'select auth from events where room = $1 and nid = any($2::bigint[])');
const READ = sql(
  'purge_read',
  `select e.nid, e.topo, e.event_id, e.ts, e.flags, e.state, e.current_state, e.prev, e.auth, e.rel, s.s as rel_type, e.replaces,
     e.redacted_by, e.json
   from events e left join strings s on s.nid = e.rel_type where e.room = $1 and e.nid = any($2::bigint[]) order by e.nid`,
);
const DELETE_EVENTS = sql(
  'purge_events',
  'delete from events where room = $1 and nid = any($2::bigint[]) returning nid, sender',
);
const DETACH = sql(
  'purge_detach',
  `update events set flags = (flags | ${EVENT_FLAGS.outlier}) & ~${EVENT_FLAGS.state}, state = 0, current_state = null
   where room = $1 and nid = any($2::bigint[])`,
);
const DELETE_MENTIONS = sql(
  'purge_mentions',
  `delete from mention m using member w where w.room = $1 and w.local and m.user_nid = w.user_nid and m.room = $1
     and m.pos between $3 and $4 and m.pos = any($2::bigint[])`,
);
const DELETE_MISSING = sql(
  'purge_missing_prev',
  'delete from missing_prev where room = $1 and referrer = any($2::bigint[])',
);
const DELETE_SEARCH = sql(
  'purge_search_docs',
  `delete from search_docs d using unnest($2::bigint[], $3::bigint[]) u(event, ts)
   where d.room = $1 and d.ts = u.ts and d.event = u.event`,
);
const DELETE_AWAITED = sql(
  'purge_awaited_relations',
  'delete from awaited_relations where room = $1 and child = any($2::bigint[])',
);
const DELETE_STICKY = sql(
  'purge_sticky_events',
  'delete from sticky_events where room = $1 and event = any($2::bigint[])',
);
const DELETE_DELTAS = sql('purge_delete_deltas', 'delete from state_delta where nid = any($1::bigint[])');
const PROGRESS = sql('purge_progress', 'select cursor, deleted from room_purges where room = $1 and before_ts = $2');
const SAVE = sql(
  'purge_save',
  `insert into room_purges (room, before_ts, cursor, deleted, started_ts) values ($1, $2, $3, $4, $5)
   on conflict (room) do update set before_ts = excluded.before_ts, cursor = excluded.cursor, deleted = excluded.deleted`,
);
const DONE = sql('purge_done', 'delete from room_purges where room = $1');
const RETENTION = sql(
  'retention_of_rooms',
  `select r.nid as room, t.state, o.ts as oldest_ts from rooms r join room_tail t on t.room = r.nid
   left join lateral (
     select min(x.ts) as ts from (
       select v.ts from events v where v.room = r.nid and v.flags & ${HIDDEN_FLAGS} = 0 and v.nid <> t.last_pos
         and not v.nid = any(t.extremities) order by v.nid limit 5
     ) x
   ) o on true
   where r.nid > $1 order by r.nid limit $2`,
);
const OTHERS = sql(
  'retention_state_others',
  `select s.nid as state, d.nid, d.others
   from state_delta s cross join lateral ${ROWS_OF_STATE} c join state_delta d on d.nid = any(c.nids)
   where s.nid = any($1::bigint[]) order by s.nid, d.seq`,
);
const LOCAL_USERS = sql('purge_local_users', 'select nid from users where nid = any($1::int[]) and local');
const TEXTS = sql(
  'retention_texts',
  'select e.nid, e.json from unnest($1::int[], $2::bigint[]) u(room, nid) join events e on e.room = u.room and e.nid = u.nid',
);

export const roomTail = async (
  database: Database,
  room: number,
): Promise<{ extremities: readonly number[]; state: number; last_pos: number } | undefined> =>
  (await database.query<{ extremities: number[]; state: number; last_pos: number }>(TAIL, [room]))[0];

/** The next `limit` events of a room with `after` < position <= `upTo`, in order of position. */
export const scanForPurge = (
  database: Database,
  room: number,
  after: number,
  upTo: number,
  limit: number,
): Promise<PurgeScanRecord[]> => database.query<PurgeScanRecord>(SCAN, [room, after, upTo, limit]);

/** The last `limit` events of a room before a position, the newest first. */
export const scanBack = (database: Database, room: number, before: number, limit: number): Promise<PurgeScanRecord[]> =>
  database.query<PurgeScanRecord>(SCAN_BACK, [room, before, limit]);

/** A row of state with the ids of those before it. */
export interface DeltaChain {
  readonly nid: number;
  readonly chain: readonly number[];
}

const withChains = (rows: readonly { nid: number; chain: Buffer }[]): DeltaChain[] =>
  rows.map(({ nid, chain }) => ({ nid, chain: unpackChain(nid, chain) }));

export const deltasOfRoom = async (database: Database, room: number): Promise<DeltaChain[]> =>
  withChains(await database.query(DELTAS, [room]));

export const chainsOfStates = async (database: Database, states: readonly number[]): Promise<DeltaChain[]> =>
  withChains(await database.query(CHAINS, [states]));

/** Adds every event that these rows of state name to `named`. A few rows are in memory at a time. */
export const addEventsNamedByDeltas = async (
  database: Database,
  deltas: readonly number[],
  named: Set<number>,
): Promise<void> => {
  for (let start = 0; start < deltas.length; start += ROWS_AT_ONCE) {
    const rows = await database.query<{ nid: number; others: Buffer; members: Buffer }>(ENTRIES, [
      deltas.slice(start, start + ROWS_AT_ONCE),
    ]);
    for (const { nid, others, members } of rows) {
      for (const packed of [others, members]) {
        for (const event of unpackEntries(nid, packed).events) if (event !== 0) named.add(event);
      }
    }
  }
};

/** The auth events of these events. */
export const authOfEvents = async (database: Database, room: number, nids: readonly number[]): Promise<number[]> =>
  (await database.query<{ auth: number[] }>(AUTH, [room, nids])).flatMap((row) => row.auth);

export const readForArchive = (database: Database, room: number, nids: readonly number[]): Promise<ArchivedRecord[]> =>
  database.query<ArchivedRecord>(READ, [room, nids]);

/**
 * Deletes events and the rows that refer to them, and hides those that are only needed as state.
 *
 * @param releasesMedia when media that they name are released (milliseconds since the epoch); undefined where these stay theirs
 */
export const purgeEvents = async (
  tx: Tx,
  room: number,
  batch: {
    readonly gone: readonly { readonly nid: number; readonly ts: number }[];
    readonly detached: readonly { readonly nid: number; readonly ts: number }[];
  },
  releasesMedia?: number,
): Promise<void> => {
  const gone = batch.gone.map(({ nid }) => nid);
  const all = [...batch.gone, ...batch.detached];
  const nids = all.map(({ nid }) => nid);
  if (nids.length === 0) return;
  let deleted: readonly { readonly nid: number; readonly sender: number }[] = [];
  if (gone.length > 0) {
    deleted = await tx.query<{ nid: number; sender: number }>(DELETE_EVENTS, [room, gone]);
    await tx.query(DELETE_MISSING, [room, gone]);
  }
  if (batch.detached.length > 0) await tx.query(DETACH, [room, batch.detached.map(({ nid }) => nid)]);
  await tx.query(DELETE_MENTIONS, [room, nids, Math.min(...nids), Math.max(...nids)]);
  await tx.query(DELETE_SEARCH, [room, nids, all.map(({ ts }) => ts)]);
  await tx.query(DELETE_STICKY, [room, nids]);
  await tx.query(DELETE_AWAITED, [room, nids]);
  // Hidden state events may still describe the room.
  if (releasesMedia !== undefined) await releaseEvents(tx, room, deleted, releasesMedia);
};

/** Those of these users who are of this server. */
export const localUsersAmong = async (database: Database, users: readonly number[]): Promise<number[]> =>
  (await database.query<{ nid: number }>(LOCAL_USERS, [users])).map(({ nid }) => nid);

export const deleteDeltas = async (database: Database, nids: readonly number[]): Promise<void> => {
  await database.query(DELETE_DELTAS, [nids]);
};

/** The progress of a purge with the same criteria. */
export const purgeProgress = async (
  database: Database,
  room: number,
  beforeTs: number,
): Promise<PurgeProgress | undefined> => (await database.query<PurgeProgress>(PROGRESS, [room, beforeTs]))[0];

export const savePurgeProgress = async (
  tx: Tx,
  progress: PurgeProgress & { readonly room: number; readonly beforeTs: number; readonly now: number },
): Promise<void> => {
  await tx.query(SAVE, [progress.room, progress.beforeTs, progress.cursor, progress.deleted, progress.now]);
};

export const endPurge = async (database: Database, room: number): Promise<void> => {
  await database.query(DONE, [room]);
};

/** Rooms after the one with this number. @param skey the integer of the state key `m.room.retention` */
export const retentionOfRooms = async (
  database: Database,
  after: number,
  skey: number,
  limit: number,
): Promise<RetentionRecord[]> => {
  const rooms = await database.query<{ room: number; state: number; oldest_ts: number | null }>(RETENTION, [
    after,
    limit,
  ]);
  const states = rooms.map(({ state }) => state);
  const policies = new Map<number, number>();
  for (const row of await database.query<{ state: number; nid: number; others: Buffer }>(OTHERS, [states])) {
    const { keys, events } = unpackEntries(row.nid, row.others);
    const at = keys.indexOf(skey);
    if (at >= 0) policies.set(row.state, events[at] ?? 0);
  }
  const named = rooms.filter(({ state }) => (policies.get(state) ?? 0) !== 0);
  const texts = new Map<number, string>();
  if (named.length > 0) {
    const places = [named.map(({ room }) => room), named.map(({ state }) => policies.get(state))];
    for (const { nid, json } of await database.query<{ nid: number; json: string }>(TEXTS, places))
      texts.set(nid, json);
  }
  return rooms.map(({ room, state, oldest_ts }) => ({
    room,
    json: texts.get(policies.get(state) ?? 0) ?? null,
    oldest_ts,
  }));
};
