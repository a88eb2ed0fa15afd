import { EVENT_FLAGS, HIDDEN_FLAGS } from '#src/protocol/events/event-flags.ts';
import type { Database } from '../database.ts';
import { sql } from '../statement.ts';

/** A place in the topological order of a room. */
interface Place {
  readonly topo: number;
  readonly nid: number;
}

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

/** Not by the index of all events of a room in that order: it goes through all of them where few relate to the event. */
const OF_ROOM = 'e.room + 0';

const RELATED = sql(
  'events_related',
  `select e.* from unnest($1::int[], $2::bigint[]) w(room, nid) cross join lateral (
     select e.rel as target, e.nid, e.topo, e.event_id, e.type, e.sender, e.ts, e.skey is not null as is_state, e.rel_type from events e
     where e.rel = w.nid and ${OF_ROOM} = w.room and e.rel is not null and e.flags & ${HIDDEN_FLAGS} = 0 and e.redacted_by is null
     order by e.topo desc, e.nid desc limit $3
   ) e limit $4`,
);

/**
 * What relates to these events, without what was redacted.
 *
 * @param most how many for each event, the newest, and how many in all: where there are as many, of any event some may be missing
 */
export const relatedEvents = (
  database: Database,
  targets: readonly { readonly room: number; readonly nid: number }[],
  most: { readonly ofEvent: number; readonly ofAll: number },
): Promise<RelatedRecord[]> =>
  database.query<RelatedRecord>(RELATED, [
    targets.map(({ room }) => room),
    targets.map(({ nid }) => nid),
    most.ofEvent,
    most.ofAll,
  ]);

const UNREDACTED_PAGE = sql(
  'events_related_unredacted',
  `select e.nid, e.topo, e.event_id, e.sender from events e
   where e.rel = $2 and ${OF_ROOM} = $1 and e.rel is not null and (e.topo, e.nid) < ($3, $4) and ($5::int[] is null or e.rel_type = any($5::int[]))
     and e.flags & ${HIDDEN_FLAGS} = 0 and e.redacted_by is null
   order by e.topo desc, e.nid desc limit $6`,
);

/** What relates to an event, the newest first, without what was redacted. */
export const unredactedPage = (
  database: Database,
  query: {
    readonly room: number;
    readonly target: number;
    /** Only what lies before this place. */
    readonly before: Place;
    /** Types of relations; undefined for all. */
    readonly types: readonly number[] | undefined;
    readonly limit: number;
  },
): Promise<Pick<RelatedRecord, 'nid' | 'topo' | 'event_id' | 'sender'>[]> =>
  database.query(UNREDACTED_PAGE, [
    query.room,
    query.target,
    query.before.topo,
    query.before.nid,
    query.types ?? null,
    query.limit,
  ]);

/** An event that relates to another one, or did so before it was redacted. */
export interface RelatedPageRecord extends RelatedRecord {
  /** False for what was redacted, and for what is shown to nobody. */
  readonly is_shown: boolean;
}

const PAGE_COLUMNS = `e.rel as target, e.nid, e.topo, e.event_id, e.type, e.sender, e.ts, e.skey is not null as is_state, e.rel_type,
     e.flags & ${HIDDEN_FLAGS} = 0 and e.redacted_by is null as is_shown`;

const PAGE_BACK = sql(
  'events_related_page_back',
  `select ${PAGE_COLUMNS} from events e where e.rel = $2 and ${OF_ROOM} = $1 and e.rel is not null and (e.topo, e.nid) < ($3, $4)
   order by e.topo desc, e.nid desc limit $5`,
);
const PAGE_FORTH = sql(
  'events_related_page_forth',
  `select ${PAGE_COLUMNS} from events e where e.rel = $2 and ${OF_ROOM} = $1 and e.rel is not null and (e.topo, e.nid) >= ($3, $4)
   order by e.topo, e.nid limit $5`,
);

/**
 * What relates to an event, in topological order from a place. What is not to be shown is among it, so that no page goes through more than its
 * limit.
 */
export const relatedPage = (
  database: Database,
  query: {
    readonly room: number;
    readonly target: number;
    readonly dir: 'b' | 'f';
    /** Backwards what lies before it, forwards it and what lies after it. */
    readonly from: Place;
    readonly limit: number;
  },
): Promise<RelatedPageRecord[]> =>
  database.query<RelatedPageRecord>(query.dir === 'b' ? PAGE_BACK : PAGE_FORTH, [
    query.room,
    query.target,
    query.from.topo,
    query.from.nid,
    query.limit,
  ]);

const ANNOTATED = sql(
  'event_annotated',
  `select 1 from events e where e.annotation = $1 and e.room = $2 and e.sender = $3
     and e.flags & ${HIDDEN_FLAGS} = 0 and e.redacted_by is null limit 1`,
);

/** Whether a user has made an annotation, which is not redacted. */
export const isAnnotated = async (
  database: Database,
  room: number,
  sender: number,
  annotation: number,
): Promise<boolean> => (await database.query(ANNOTATED, [annotation, room, sender])).length > 0;

/** Bytes of an event that a client would make for an annotation. */
const MAX_UNNAMED_BYTES = 4_096;

const UNNAMED = sql(
  'event_annotations_unnamed',
  `select e.json from events e where e.rel = $2 and ${OF_ROOM} = $1 and e.rel is not null and e.sender = $3 and e.annotation is null
     and e.flags & ${HIDDEN_FLAGS} = 0 and e.redacted_by is null and octet_length(e.json) <= ${MAX_UNNAMED_BYTES}
   order by e.topo desc, e.nid desc limit $4`,
);

/**
 * What a user said of an event, as JSON, the newest first, where it has no number of what it says: it was stored before there were such numbers, or
 * is no annotation. Unusually large events are left out.
 */
export const unnamedAnnotations = async (
  database: Database,
  of: { readonly room: number; readonly target: number; readonly sender: number },
  limit: number,
): Promise<string[]> =>
  (await database.query<{ json: string }>(UNNAMED, [of.room, of.target, of.sender, limit])).map(({ json }) => json);

const NAMING = sql(
  'event_annotations_naming',
  `select 1 from admin_tasks where action = 'populate_annotations' and status in ('scheduled', 'active') limit 1`,
);

/** Whether there may be annotations that have no number of what they say. */
export const areAnnotationsUnnamed = async (database: Database): Promise<boolean> =>
  (await database.query(NAMING, [])).length > 0;

/** A thread, by the position of its root and the place of its latest reply. */
export interface ThreadRecord {
  readonly root: number;
  readonly topo: number;
  readonly nid: number;
}

// All replies of the room are gone through once: to ask of each whether a later one is there would take the square of a long thread.
const THREADS = sql(
  'room_threads',
  `select t.root, t.topo, t.nid from (
     select distinct on (e.rel) e.rel as root, e.rel_type, e.topo, e.nid from events e
     where e.room = $1 and e.nid <= $4 and e.flags & ${EVENT_FLAGS.threaded} <> 0 and e.flags & ${HIDDEN_FLAGS} = 0
       and e.redacted_by is null and e.rel is not null and e.sender <> all($5::int[])
     order by e.rel, e.topo desc, e.nid desc
   ) t
   where (t.topo, t.nid) < ($2, $3)
     and ($6::int is null
       or exists (select 1 from events r where r.room = $1 and r.nid = t.root and r.sender = $6)
       or exists (
         select 1 from events p where p.rel = t.root and p.rel_type = t.rel_type and p.room = $1 and p.sender = $6
           and p.redacted_by is null
       ))
   order by t.topo desc, t.nid desc limit $7`,
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
