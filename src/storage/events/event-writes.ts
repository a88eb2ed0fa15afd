import type { Database } from '../database.ts';
import { sql } from '../statement.ts';
import { type WasAwaited, withAwaitedRelations } from './awaited-relations.ts';
import type { EventWrite } from './event-rows.ts';
import { stickyValues, withStickyEvents } from './sticky-writes.ts';

/** Bits of `events.flags`. */
export const EVENT_FLAGS = {
  /** Has a state key and took part in the room's state. */
  state: 1,
  /** Failed authorization: never served, never an ancestor of state. */
  rejected: 2,
  /** Valid in its place in the DAG but not against the room's current state: not shown, still an ancestor. */
  softFailed: 4,
  /** Known without its ancestors. */
  outlier: 8,
  /** Notifies a user who has only the default push rules. */
  notifies: 16,
  /** Highlights for every such user (`@room`). */
  highlightsAll: 32,
  /** Part of a thread: `rel` is the thread's root. */
  threaded: 64,
} as const;

/** The newest position of a shard within a batch, and the epoch under which this process owns the shard. */
export interface ShardGuard {
  readonly shard: number;
  readonly epoch: number;
  readonly sequence: number;
}

/** Thrown when another process has taken over a shard: nothing of the batch was written. */
export class StaleEpochError extends Error {
  constructor() {
    super('this process no longer owns a shard that the batch writes to');
    this.name = 'StaleEpochError';
  }
}

// One statement for everything in a batch: one round trip, one commit. Arrays of arrays travel as array literals in text, since
// unnest would flatten them.
const WRITE_EVENTS = sql(
  'write_events',
  `with guard as (
    update shards s set seq = greatest(s.seq, g.seq) from unnest($1::smallint[], $2::bigint[], $3::bigint[]) g(id, epoch, seq)
    where s.id = g.id and s.epoch = g.epoch returning s.id
  ), owned as (
    select 1 from guard having count(*) = cardinality($1::smallint[])
  ), new_events as (
    insert into events (room, nid, topo, event_id, type, skey, sender, ts, state, prev, auth, rel, rel_type, flags, json, replaces,
      current_state, delay_id, sent_by)
    select e.room, e.nid, e.topo, e.event_id, e.type, e.skey, e.sender, e.ts, e.state, e.prev::bigint[], e.auth::bigint[],
      coalesce(e.rel, (select t.nid from events t where t.event_id = e.rel_id and t.room = e.room)), e.rel_type, e.flags, e.json, e.replaces,
      e.current_state, e.delay_id, e.sent_by
    from owned, unnest($4::int[], $5::bigint[], $6::bigint[], $7::bytea[], $8::int[], $9::int[], $10::int[], $11::bigint[],
      $12::bigint[], $13::text[], $14::text[], $15::bigint[], $16::bytea[], $17::int[], $18::int[], $19::text[], $20::bigint[], $21::bigint[],
      $35::text[], $36::text[])
      e(room, nid, topo, event_id, type, skey, sender, ts, state, prev, auth, rel, rel_id, rel_type, flags, json, replaces,
        current_state, delay_id, sent_by)
  ), new_tails as (
    insert into room_tail (room, extremities, state, depth, last_pos)
    select t.room, t.extremities::bigint[], t.state, t.depth, t.last_pos
    from owned, unnest($22::int[], $23::text[], $24::bigint[], $25::bigint[], $26::bigint[])
      t(room, extremities, state, depth, last_pos)
    on conflict (room) do update set extremities = excluded.extremities, state = excluded.state, depth = excluded.depth,
      last_pos = excluded.last_pos
  ), new_txns as (
    insert into txn (key, event_id, day)
    select t.* from owned, unnest($27::uuid[], $28::text[], $29::int[]) t(key, event_id, day)
  ), new_mentions as (
    insert into mention (user_nid, room, pos, thread, kind)
    select m.* from owned, unnest($30::int[], $31::int[], $32::bigint[], $33::bigint[], $34::smallint[])
      m(user_nid, room, pos, thread, kind)
  ) select 1 from owned`,
);

// Batches with state changes, new rooms, aliases, redactions or delayed events, with events from elsewhere, or with relations to what
// is not in memory: the same statement with the rarer tables in front.
const WITH_STATE = WRITE_EVENTS.text.replace(
  ') select 1 from owned',
  `), new_deltas as (
    insert into state_delta (nid, room, seq, chain, others, members)
    select d.* from owned, unnest($37::bigint[], $38::int[], $39::int[], $40::bytea[], $41::bytea[], $42::bytea[])
      d(nid, room, seq, chain, others, members)
  ), new_members as (
    insert into member (room, user_nid, membership, event, since, local)
    select m.* from owned, unnest($43::int[], $44::int[], $45::smallint[], $46::bigint[], $47::bigint[], $48::boolean[])
      m(room, user_nid, membership, event, since, local)
    on conflict (room, user_nid) do update set membership = excluded.membership, event = excluded.event,
      since = excluded.since, forgotten = false
  ), new_rooms as (
    insert into rooms (nid, room_id, version, shard, creator, room_type, is_public, created_ts) overriding system value
    select r.* from owned, unnest($49::int[], $50::text[], $51::text[], $52::smallint[], $53::int[], $54::text[], $55::boolean[],
      $56::bigint[]) r(nid, room_id, version, shard, creator, room_type, is_public, created_ts)
  ), new_aliases as (
    insert into aliases (alias, room, creator, created_ts)
    select a.* from owned, unnest($57::text[], $58::int[], $59::text[], $60::bigint[]) a(alias, room, creator, created_ts)
  ), redacted as (
    update events e set json = r.json, redacted_by = r.redacted_by
    from owned, unnest($61::int[], $62::bigint[], $63::bigint[], $64::text[]) r(room, nid, redacted_by, json)
    where e.room = r.room and e.nid = r.nid
  ), sent_delayed as (
    update delayed_events d set finalised_ts = s.sent_ts, event_id = s.event_id
    from owned, unnest($65::text[], $66::text[], $67::bigint[]) s(delay_id, event_id, sent_ts)
    where d.delay_id = s.delay_id and d.finalised_ts is null
  ) select 1 from owned`,
);
const WRITE_EVENTS_AND_STATE = sql('write_events_and_state', withAwaitedRelations(WITH_STATE));

// Batches with sticky events.
const WRITE_STICKY_EVENTS = sql(
  'write_sticky_events',
  withAwaitedRelations(withStickyEvents(WITH_STATE, EVENT_FLAGS.softFailed)),
);

const literal = (values: readonly number[]): string => `{${values.join(',')}}`;
const column = <Row, Key extends keyof Row>(rows: readonly Row[], key: Key): Row[Key][] => rows.map((row) => row[key]);
/** The last row of each key: an upsert may not touch the same row twice. */
const lastOf = <Row>(rows: readonly Row[], key: (row: Row) => string | number): Row[] => [
  ...new Map(rows.map((row) => [key(row), row])).values(),
];

const NOTHING_AWAITED: WasAwaited = () => false;

/**
 * Writes a batch in one statement and one commit.
 *
 * @returns which of its events earlier ones relate to: these are connected with them
 * @throws StaleEpochError when a shard has another owner by now; nothing is written then
 */
export const writeEvents = async (
  database: Database,
  guards: readonly ShardGuard[],
  writes: readonly EventWrite[],
): Promise<WasAwaited> => {
  const events = writes.flatMap((write) => write.events);
  const tails = lastOf(
    writes.flatMap((write) => write.tails),
    (row) => row.room,
  );
  const txns = writes.flatMap((write) => write.txns ?? []);
  const mentions = writes.flatMap((write) => write.mentions ?? []);
  const values: unknown[] = [
    column(guards, 'shard'),
    column(guards, 'epoch'),
    column(guards, 'sequence'),
    column(events, 'room'),
    column(events, 'nid'),
    column(events, 'topo'),
    column(events, 'eventId'),
    column(events, 'type'),
    column(events, 'skey'),
    column(events, 'sender'),
    column(events, 'ts'),
    column(events, 'state'),
    events.map((event) => literal(event.prev)),
    events.map((event) => literal(event.auth)),
    events.map((event) => (typeof event.rel === 'number' ? event.rel : null)),
    events.map((event) => (typeof event.rel === 'number' ? null : event.rel)),
    column(events, 'relType'),
    column(events, 'flags'),
    column(events, 'json'),
    column(events, 'replaces'),
    column(events, 'currentState'),
    column(tails, 'room'),
    tails.map((tail) => literal(tail.extremities)),
    column(tails, 'state'),
    column(tails, 'depth'),
    column(tails, 'lastPos'),
    column(txns, 'key'),
    column(txns, 'eventId'),
    column(txns, 'day'),
    column(mentions, 'user'),
    column(mentions, 'room'),
    column(mentions, 'pos'),
    column(mentions, 'thread'),
    column(mentions, 'kind'),
    events.map((event) => event.delayId ?? null),
    events.map((event) => event.sentBy ?? null),
  ];
  const deltas = writes.flatMap((write) => write.deltas ?? []);
  const members = lastOf(
    writes.flatMap((write) => write.members ?? []),
    (row) => `${row.room} ${row.user}`,
  );
  const rooms = writes.flatMap((write) => write.rooms ?? []);
  const aliases = writes.flatMap((write) => write.aliases ?? []);
  const redactions = lastOf(
    writes.flatMap((write) => write.redactions ?? []),
    (row) => row.nid,
  );
  const sentDelayed = writes.flatMap((write) => write.sentDelayed ?? []);
  const plain =
    deltas.length + members.length + rooms.length + aliases.length + redactions.length + sentDelayed.length === 0 &&
    !writes.some((write) => write.isReceived) &&
    !events.some((event) => event.rel !== null && typeof event.rel !== 'number');
  const sticky = stickyValues(writes);
  if (!plain || sticky !== undefined) {
    values.push(
      column(deltas, 'nid'),
      column(deltas, 'room'),
      column(deltas, 'seq'),
      column(deltas, 'chain'),
      column(deltas, 'others'),
      column(deltas, 'members'),
      column(members, 'room'),
      column(members, 'user'),
      column(members, 'membership'),
      column(members, 'event'),
      column(members, 'since'),
      column(members, 'local'),
      column(rooms, 'nid'),
      column(rooms, 'roomId'),
      column(rooms, 'version'),
      column(rooms, 'shard'),
      column(rooms, 'creator'),
      column(rooms, 'roomType'),
      column(rooms, 'isPublic'),
      column(rooms, 'createdTs'),
      column(aliases, 'alias'),
      column(aliases, 'room'),
      column(aliases, 'creator'),
      column(aliases, 'createdTs'),
      column(redactions, 'room'),
      column(redactions, 'nid'),
      column(redactions, 'redactedBy'),
      column(redactions, 'json'),
      column(sentDelayed, 'delayId'),
      column(sentDelayed, 'eventId'),
      column(sentDelayed, 'sentTs'),
    );
  }
  const rows = await database.query<{ readonly awaited?: readonly number[] | null }>(
    sticky !== undefined ? WRITE_STICKY_EVENTS : plain ? WRITE_EVENTS : WRITE_EVENTS_AND_STATE,
    [...values, ...(sticky ?? [])],
  );
  const [row] = rows;
  if (row === undefined) throw new StaleEpochError();
  const awaited = new Set(row.awaited);
  return awaited.size === 0 ? NOTHING_AWAITED : (position) => awaited.has(position);
};
