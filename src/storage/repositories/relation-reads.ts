import type { Database } from '../database.ts';
import { sql } from '../statement.ts';

/** Flags of events that no client is shown: rejected, soft-failed, outliers. */
const HIDDEN = 2 | 4 | 8;

/** An event that relates to another one, without its content. */
export interface RelatedRecord {
  /** Position of the event that it relates to. */
  readonly target: number;
  readonly nid: number;
  readonly topo: number;
  readonly event_id: Buffer;
  readonly type: number;
  readonly sender: number;
  readonly ts: number;
  readonly is_state: boolean;
  readonly rel_type: number;
}

const RELATED = sql(
  'events_related',
  `select e.rel as target, e.nid, e.topo, e.event_id, e.type, e.sender, e.ts, e.skey is not null as is_state, e.rel_type
   from unnest($1::int[], $2::bigint[]) w(room, nid)
   join events e on e.rel = w.nid and e.room = w.room
   where e.rel is not null and e.flags & ${HIDDEN} = 0 and e.redacted_by is null`,
);

/** Everything that relates to these events, without what was redacted. */
export const relatedEvents = (
  database: Database,
  targets: readonly { readonly room: number; readonly nid: number }[],
): Promise<RelatedRecord[]> =>
  database.query<RelatedRecord>(RELATED, [targets.map(({ room }) => room), targets.map(({ nid }) => nid)]);

/** A thread, by the position of its root and the place of its latest reply. */
export interface ThreadRecord {
  readonly root: number;
  readonly topo: number;
  readonly nid: number;
}

// Read backwards, the first reply of each thread that comes along is its latest one.
const THREADS = sql(
  'room_threads',
  `select e.rel as root, e.topo, e.nid from events e
   where e.room = $1 and (e.topo, e.nid) < ($2, $3) and e.nid <= $4 and e.flags & 64 <> 0 and e.flags & ${HIDDEN} = 0
     and e.redacted_by is null and e.rel is not null and e.sender <> all($5::int[])
     and not exists (
       select 1 from events l where l.rel = e.rel and l.rel_type = e.rel_type and l.room = e.room and l.nid <= $4
         and (l.topo, l.nid) > (e.topo, e.nid) and l.flags & ${HIDDEN} = 0 and l.redacted_by is null
         and l.sender <> all($5::int[])
     )
     and ($6::int is null
       or exists (select 1 from events r where r.room = e.room and r.nid = e.rel and r.sender = $6)
       or exists (
         select 1 from events p where p.rel = e.rel and p.rel_type = e.rel_type and p.room = e.room and p.sender = $6
           and p.redacted_by is null
       ))
   order by e.topo desc, e.nid desc limit $7`,
);

/** Threads of a room by their latest reply, the latest first. */
export const threadsOf = (
  database: Database,
  query: {
    readonly room: number;
    /** Only threads whose latest reply stands before this place. */
    readonly before: { readonly topo: number; readonly nid: number };
    readonly upTo: number;
    /** Senders whose replies do not count. */
    readonly without: readonly number[];
    /** Only threads in which this user wrote. */
    readonly participant: number | undefined;
    readonly limit: number;
  },
): Promise<ThreadRecord[]> =>
  database.query<ThreadRecord>(THREADS, [
    query.room,
    query.before.topo,
    query.before.nid,
    query.upTo,
    query.without,
    query.participant ?? null,
    query.limit,
  ]);
