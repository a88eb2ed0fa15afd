import type { Database, Tx } from '../database.ts';
import { sql } from '../statement.ts';
import { EVENT_FLAGS } from './event-writes.ts';

const HIDDEN = EVENT_FLAGS.rejected | EVENT_FLAGS.softFailed | EVENT_FLAGS.outlier;

/** What a purge looks at of an event. */
export interface PurgeScanRecord {
  readonly nid: number;
  readonly ts: number;
  readonly flags: number;
  readonly state: number;
  readonly current_state: number | null;
  readonly has_skey: boolean;
  /** Of state events only. */
  readonly auth: readonly number[];
}

/** Everything that an archive keeps of an event. */
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

/** A room with what decides whether it has something to let go. */
export interface RetentionRecord {
  readonly room: number;
  /** JSON of the room's `m.room.retention`. */
  readonly json: string | null;
  /** When the oldest of its events was sent that need not stay; milliseconds since the epoch. */
  readonly oldest_ts: number | null;
}

const TAIL = sql('purge_tail', 'select extremities, state, last_pos from room_tail where room = $1');
const SCAN = sql(
  'purge_scan',
  `select nid, ts, flags, state, current_state, skey is not null as has_skey,
     case when skey is null then '{}'::bigint[] else auth end as auth
   from events where room = $1 and nid > $2 and nid <= $3 order by nid limit $4`,
);
const DELTAS = sql('purge_deltas', 'select nid, chain from state_delta where room = $1');
const NAMED = sql(
  'purge_named_by_deltas',
  `select distinct v.event from state_delta d cross join lateral unnest(d.events || d.member_events) v(event)
   where d.nid = any($1::bigint[]) and v.event <> 0`,
);
const AUTH = sql('purge_auth', 'select auth from events where room = $1 and nid = any($2::bigint[])');
const READ = sql(
  'purge_read',
  `select e.nid, e.topo, e.event_id, e.ts, e.flags, e.state, e.current_state, e.prev, e.auth, e.rel, s.s as rel_type, e.replaces,
     e.redacted_by, e.json
   from events e left join strings s on s.nid = e.rel_type where e.room = $1 and e.nid = any($2::bigint[]) order by e.nid`,
);
const DELETE_EVENTS = sql('purge_events', 'delete from events where room = $1 and nid = any($2::bigint[])');
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
const DELETE_DELTAS = sql('purge_delete_deltas', 'delete from state_delta where room = $1 and nid = any($2::bigint[])');
const PROGRESS = sql('purge_progress', 'select cursor, deleted from room_purges where room = $1 and before_ts = $2');
const SAVE = sql(
  'purge_save',
  `insert into room_purges (room, before_ts, cursor, deleted, started_ts) values ($1, $2, $3, $4, $5)
   on conflict (room) do update set before_ts = excluded.before_ts, cursor = excluded.cursor, deleted = excluded.deleted`,
);
const DONE = sql('purge_done', 'delete from room_purges where room = $1');
const RETENTION = sql(
  'retention_of_rooms',
  `select r.nid as room, e.json, o.ts as oldest_ts from rooms r join room_tail t on t.room = r.nid
   left join lateral (
     select u.event from state_delta s join state_delta d on d.nid = any(s.chain || s.nid)
     cross join lateral unnest(d.skeys, d.events) u(skey, event)
     where s.nid = t.state and u.skey = $2 order by d.seq desc limit 1
   ) p on true
   left join events e on e.room = r.nid and e.nid = p.event
   left join lateral (
     select min(x.ts) as ts from (
       select v.ts from events v where v.room = r.nid and v.flags & ${HIDDEN} = 0 and v.nid <> t.last_pos
         and not v.nid = any(t.extremities) order by v.nid limit 5
     ) x
   ) o on true
   where r.nid > $1 order by r.nid limit $3`,
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

export const deltasOfRoom = (database: Database, room: number): Promise<{ nid: number; chain: readonly number[] }[]> =>
  database.query(DELTAS, [room]);

/** Every event that these rows of state name. */
export const eventsNamedByDeltas = async (database: Database, deltas: readonly number[]): Promise<number[]> =>
  (await database.query<{ event: number }>(NAMED, [deltas])).map((row) => row.event);

/** The auth events of these events. */
export const authOfEvents = async (database: Database, room: number, nids: readonly number[]): Promise<number[]> =>
  (await database.query<{ auth: number[] }>(AUTH, [room, nids])).flatMap((row) => row.auth);

export const readForArchive = (database: Database, room: number, nids: readonly number[]): Promise<ArchivedRecord[]> =>
  database.query<ArchivedRecord>(READ, [room, nids]);

/** Deletes events and what hangs on them, and hides those of which only the state is needed. */
export const purgeEvents = async (
  tx: Tx,
  room: number,
  batch: {
    readonly gone: readonly { readonly nid: number; readonly ts: number }[];
    readonly detached: readonly { readonly nid: number; readonly ts: number }[];
  },
): Promise<void> => {
  const gone = batch.gone.map(({ nid }) => nid);
  const all = [...batch.gone, ...batch.detached];
  const nids = all.map(({ nid }) => nid);
  if (nids.length === 0) return;
  if (gone.length > 0) {
    await tx.query(DELETE_EVENTS, [room, gone]);
    await tx.query(DELETE_MISSING, [room, gone]);
  }
  if (batch.detached.length > 0) await tx.query(DETACH, [room, batch.detached.map(({ nid }) => nid)]);
  await tx.query(DELETE_MENTIONS, [room, nids, Math.min(...nids), Math.max(...nids)]);
  await tx.query(DELETE_SEARCH, [room, nids, all.map(({ ts }) => ts)]);
};

export const deleteDeltas = async (database: Database, room: number, nids: readonly number[]): Promise<void> => {
  await database.query(DELETE_DELTAS, [room, nids]);
};

/** How far a purge with the same aim has come. */
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
export const retentionOfRooms = (
  database: Database,
  after: number,
  skey: number,
  limit: number,
): Promise<RetentionRecord[]> => database.query<RetentionRecord>(RETENTION, [after, skey, limit]);
