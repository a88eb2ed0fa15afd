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
const OF_ROOM = (event: string): string => `${event}.room + 0`;

const RELATED = sql(
  'events_related',
  `select e.* from unnest($1::int[], $2::bigint[]) w(room, nid) cross join lateral (
     select e.rel as target, e.nid, e.topo, e.event_id, e.type, e.sender, e.ts, e.skey is not null as is_state, e.rel_type from events e
     where e.rel = w.nid and ${OF_ROOM('e')} = w.room and e.rel is not null and e.flags & ${HIDDEN_FLAGS} = 0 and e.redacted_by is null
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
   where e.rel = $2 and ${OF_ROOM('e')} = $1 and e.rel is not null and (e.topo, e.nid) < ($3, $4) and ($5::int[] is null or e.rel_type = any($5::int[]))
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
  `select ${PAGE_COLUMNS} from events e where e.rel = $2 and ${OF_ROOM('e')} = $1 and e.rel is not null and (e.topo, e.nid) < ($3, $4)
   order by e.topo desc, e.nid desc limit $5`,
);
const PAGE_FORTH = sql(
  'events_related_page_forth',
  `select ${PAGE_COLUMNS} from events e where e.rel = $2 and ${OF_ROOM('e')} = $1 and e.rel is not null and (e.topo, e.nid) >= ($3, $4)
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
  `select e.json from events e where e.rel = $2 and ${OF_ROOM('e')} = $1 and e.rel is not null and e.sender = $3 and e.annotation is null
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
  /** Whether the participant that was asked for wrote in it; true where nobody was asked for. */
  readonly participates: boolean;
}

/** Threads that some replies of a room belong to. */
export interface WalkedThreads {
  /** Those whose latest reply is among the replies, the latest first. */
  readonly threads: readonly ThreadRecord[];
  /** How many replies were walked over, and the place of the last; undefined where there was none. */
  readonly walked: number;
  readonly last: Place | undefined;
}

const heard = (reply: string): string =>
  `(${reply}.nid <= $4 and ${reply}.flags & ${HIDDEN_FLAGS} = 0 and ${reply}.redacted_by is null and ${reply}.sender <> all($5::int[]))`;

// Backwards over the index of replies: a thread is met at its latest reply, and again at each earlier one, which a later one tells.
const THREADS = sql(
  'room_threads',
  `with walked as materialized (
     select e.rel as root, e.rel_type, e.topo, e.nid, ${heard('e')} and e.rel is not null as heard from events e
     where e.room = $1 and e.flags & ${EVENT_FLAGS.threaded} <> 0 and (e.topo, e.nid) < ($2, $3)
     order by e.topo desc, e.nid desc limit $8
   ), met as materialized (
     select distinct on (root) root, rel_type, topo, nid from walked where heard order by root, topo desc, nid desc
   ), threads as materialized (
     select t.* from (select * from met order by topo desc, nid desc) t
     where not exists (
       select 1 from (
         select l.* from events l
         where l.rel = t.root and ${OF_ROOM('l')} = $1 and l.rel is not null and (l.topo, l.nid) > (t.topo, t.nid)
         order by l.topo, l.nid limit $9
       ) l where l.rel_type = t.rel_type and ${heard('l')}
     )
     order by t.topo desc, t.nid desc limit $7
   )
   select (select count(*)::int from walked) as walked,
     (select json_build_object('topo', topo, 'nid', nid) from walked order by topo, nid limit 1) as last,
     coalesce((select json_agg(json_build_object('root', t.root, 'topo', t.topo, 'nid', t.nid, 'participates',
       $6::int is null
       or exists (select 1 from events r where r.room = $1 and r.nid = t.root and r.sender = $6)
       or exists (
         select 1 from (
           select p.sender, p.rel_type, p.redacted_by from events p where p.rel = t.root and ${OF_ROOM('p')} = $1 and p.rel is not null
           order by p.topo desc, p.nid desc limit $10
         ) p where p.sender = $6 and p.rel_type = t.rel_type and p.redacted_by is null
       )) order by t.topo desc, t.nid desc) from threads t), '[]') as threads`,
);

/** Walks backwards over replies in threads of a room, from a place. */
export const threadsOf = async (
  database: Database,
  query: {
    readonly room: number;
    /** Only threads whose latest reply stands before this place. */
    readonly before: Place;
    readonly upTo: number;
    /** Senders whose replies do not count. */
    readonly without: readonly number[];
    /** Who is asked for in each of them. */
    readonly participant: number | undefined;
    readonly limit: number;
  },
  most: {
    /** Replies that are walked over. */
    readonly walked: number;
    /** Of what relates to a root after a reply, the first, among which a later reply is looked for. */
    readonly later: number;
    /** Of what relates to a root, the newest, among which one of the participant is looked for. */
    readonly participation: number;
  },
): Promise<WalkedThreads> => {
  const [found] = await database.query<{
    readonly threads: readonly ThreadRecord[];
    readonly walked: number;
    readonly last: Place | null;
  }>(THREADS, [
    query.room,
    query.before.topo,
    query.before.nid,
    query.upTo,
    query.without,
    query.participant ?? null,
    query.limit,
    most.walked,
    most.later,
    most.participation,
  ]);
  return { threads: found?.threads ?? [], walked: found?.walked ?? 0, last: found?.last ?? undefined };
};
