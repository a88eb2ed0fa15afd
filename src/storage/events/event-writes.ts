import { EVENT_FLAGS, HIDDEN_FLAGS } from '#src/protocol/events/event-flags.ts';
import { BatchStatements, insertStep, type Step } from '../batch-statement.ts';
import { GUARD, OWNED, type ShardGuard, writeGuarded } from '../commit/guarded-batch.ts';
import type { Database, Tx } from '../database.ts';
import { sql } from '../statement.ts';
import type { EventBatch, EventWrite } from './event-rows.ts';
import {
  ALIASES,
  ARRIVING,
  AWAITED_REDACTIONS,
  DELTAS,
  EVENTS,
  JOBS,
  MEMBERS,
  MENTIONS,
  MISSING,
  PARTIALS,
  REBASED,
  REDACTIONS,
  REJECTIONS,
  RELATING,
  RESETS,
  LATE_EVENTS,
  REVIVALS,
  ROOMS,
  SENT_DELAYED,
  STICKIES,
  TAILS,
  TXNS,
} from './event-tables.ts';

/** Says of a position whether the event that was just written there is one that earlier events relate to. */
export type WasAwaited = (position: number) => boolean;

const from = OWNED;

/** The steps for every message. */
const MESSAGES: readonly Step<EventBatch>[] = [
  ...GUARD,
  insertStep(EVENTS, { from }),
  {
    name: 'moved_tails',
    tables: [TAILS],
    // INSERT ... ON CONFLICT would lock the row first, and write that to the WAL as well.
    text: (
      rows,
    ) => `update room_tail t set extremities = n.extremities::bigint[], state = n.state, depth = n.depth, last_pos = n.last_pos
from ${OWNED}, ${rows(TAILS, 'n')} where t.room = n.room`,
  },
  insertStep(TXNS, { from }),
  insertStep(MENTIONS, { from }),
];

const STATE: readonly Step<EventBatch>[] = [
  insertStep(DELTAS, { from }),
  insertStep(MEMBERS, {
    from,
    after: `on conflict (room, user_nid) do update set membership = excluded.membership, event = excluded.event,
since = excluded.since, forgotten = false`,
  }),
];

/** The tails of rooms that are made by the batch. */
const NEW_TAILS: Step<EventBatch> = {
  ...insertStep(TAILS, { from, after: 'where not exists (select 1 from room_tail t where t.room = n.room)' }),
  tables: [ROOMS],
};

const REDACTED: Step<EventBatch> = {
  name: 'redacted',
  tables: [REDACTIONS],
  text: (rows) => `update events e set json = r.json, redacted_by = r.redacted_by, annotation = null
from ${OWNED}, ${rows(REDACTIONS, 'r')} where e.room = r.room and e.nid = r.nid`,
};

const SENT: Step<EventBatch> = {
  name: 'sent_delayed',
  tables: [SENT_DELAYED],
  text: (rows) => `update delayed_events d set finalised_ts = s.finalised_ts, event_id = s.event_id
from ${OWNED}, ${rows(SENT_DELAYED, 's')} where d.delay_id = s.delay_id and d.finalised_ts is null`,
};

const AWAITING = insertStep(RELATING, {
  from,
  after: 'where not exists (select 1 from events t where t.event_id = n.target)',
});

const ARRIVED: Step<EventBatch> = {
  name: 'arrived',
  tables: [ARRIVING],
  text: (rows) => `delete from awaited_relations a using ${OWNED}, ${rows(ARRIVING, 'n')}
where a.room = n.room and a.target = n.target returning a.room, a.child, n.nid as target`,
};

/** A row is changed once in a statement, and what is redacted relates to nothing. */
const CONNECTED: Step<EventBatch> = {
  name: 'connected',
  tables: [ARRIVING],
  text: (rows) => `update events e set rel = a.target from arrived a where e.room = a.room and e.nid = a.child
and not exists (select 1 from ${rows(REDACTIONS, 'r', ['room', 'nid'])} where r.room = e.room and r.nid = e.nid)`,
};

/** Deletes what is not missing any more. */
const FOUND: Step<EventBatch> = {
  name: 'found',
  tables: [ARRIVING],
  text: (rows) => `delete from missing_prev m using ${OWNED}, ${rows(ARRIVING, 'n', ['room', 'target'])}
where m.room = n.room and m.event_id = n.target`,
};

const REVIVED: Step<EventBatch> = {
  name: 'revived',
  tables: [REVIVALS],
  text: (rows) => `update events e set flags = e.flags & ~${EVENT_FLAGS.softFailed}
from ${OWNED}, ${rows(REVIVALS, 'v', ['room', 'event'])} where e.room = v.room and e.nid = v.event`,
};

const DELIVERED: Step<EventBatch> = {
  name: 'delivered',
  tables: [REVIVALS],
  text: (rows) => `update sticky_events y set pos = v.pos
from ${OWNED}, ${rows(REVIVALS, 'v')} where y.room = v.room and y.event = v.event`,
};

/** All rows of a state say what was told at last, in the same commit. */
const REWRITTEN: Step<EventBatch> = {
  name: 'rewritten',
  tables: [REBASED],
  text: (rows) => `update state_delta d set others = n.others, members = n.members
from ${OWNED}, ${rows(REBASED, 'n')} where d.nid = n.nid`,
};

const REJECTED: Step<EventBatch> = {
  name: 'rejected',
  tables: [REJECTIONS],
  text: (rows) => `update events e set flags = (e.flags | ${EVENT_FLAGS.rejected}) & ~${EVENT_FLAGS.state}
from ${OWNED}, ${rows(REJECTIONS, 'n')} where e.room = n.room and e.nid = n.nid`,
};

/** Messages, changes of state, and everything else: what a batch does not have costs it nothing, and three plans are few. */
export const WRITE_EVENTS = new BatchStatements<EventBatch>(
  [
    { name: 'write_messages', steps: MESSAGES },
    { name: 'write_state', steps: STATE },
    {
      name: 'write_events',
      steps: [
        insertStep(ROOMS, { from, overriding: true }),
        NEW_TAILS,
        insertStep(ALIASES, { from }),
        insertStep(JOBS, { from }),
        REDACTED,
        SENT,
        AWAITING,
        ARRIVED,
        CONNECTED,
        insertStep(MISSING, { from, after: 'on conflict do nothing' }),
        FOUND,
        insertStep(RESETS, { from }),
        insertStep(STICKIES, { from }),
        REVIVED,
        DELIVERED,
        insertStep(LATE_EVENTS, {
          from: OWNED,
          after: 'on conflict (follower, event) do update set tries = excluded.tries, retry_at = excluded.retry_at',
        }),
        insertStep(AWAITED_REDACTIONS, { from, after: 'on conflict do nothing' }),
        insertStep(PARTIALS, {
          from,
          after: `on conflict (room) do update set state = excluded.state, join_pos = excluded.join_pos, via = excluded.via,
servers = excluded.servers, before = excluded.before, full_pos = excluded.full_pos`,
        }),
        REWRITTEN,
        REJECTED,
      ],
    },
  ],
  (steps) =>
    steps.includes(ARRIVED)
      ? `select (select array_agg(distinct a.target) from arrived a) as awaited from ${OWNED}`
      : `select 1 from ${OWNED}`,
);

/** What named them by position (states, auth events) still finds them, nobody else does. */
const REPLACED = sql(
  'events_replaced',
  `update events e set event_id = e.event_id || '\\x00'::bytea from unnest($1::int[], $2::bigint[]) r(room, nid)
   where e.room = r.room and e.nid = r.nid and e.flags & ${HIDDEN_FLAGS} <> 0`,
);

const NOTHING_AWAITED: WasAwaited = () => false;

/**
 * Writes a batch in one statement and one commit; events that get new positions lose their old ones in a statement before it.
 *
 * @returns which of its events earlier ones relate to: these are connected with them
 * @throws StaleEpochError when a shard has another owner by now; nothing is written then
 */
export const writeEvents = async (
  database: Database,
  guards: readonly ShardGuard[],
  writes: readonly EventWrite[],
): Promise<WasAwaited> => {
  const replaced = writes.flatMap((write) => write.replaced ?? []);
  const write = (writer: Database | Tx): Promise<{ readonly awaited?: readonly number[] | null }> =>
    writeGuarded(writer, WRITE_EVENTS, { guards, writes });
  const answer =
    replaced.length === 0
      ? await write(database)
      : await database.write(async (tx) => {
          await tx.query(REPLACED, [replaced.map(({ room }) => room), replaced.map(({ nid }) => nid)]);
          return write(tx);
        });
  if (writes.some(({ jobs }) => jobs !== undefined && jobs.length > 0)) database.enqueued.emit();
  const awaited = new Set(answer.awaited);
  return awaited.size === 0 ? NOTHING_AWAITED : (position) => awaited.has(position);
};
