import { randomUUID } from 'node:crypto';
import { expect } from 'chai';
import fc from 'fast-check';
import { EVENT_FLAGS } from '#src/protocol/events/event-flags.ts';
import { BatchStatements, BatchTable, insertStep, int } from '#src/storage/batch-statement.ts';
import { StaleEpochError, type ShardGuard } from '#src/storage/commit/guarded-batch.ts';
import type { EventBatch, EventRow, EventWrite } from '#src/storage/events/event-rows.ts';
import { EVENT_COLUMNS } from '#src/storage/events/event-tables.ts';
import * as tables from '#src/storage/events/event-tables.ts';
import { WRITE_EVENTS, writeEvents } from '#src/storage/events/event-writes.ts';
import { sql } from '#src/storage/statement.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';

const COLUMNS_OF = sql(
  'test_columns_of',
  'select column_name as name, udt_name as type from information_schema.columns where table_name = $1',
);
/** PostgreSQL's own names of the types that columns are declared with. */
const TYPES: Readonly<Record<string, string>> = {
  smallint: 'int2',
  int: 'int4',
  bigint: 'int8',
  boolean: 'bool',
  'bigint[]': '_int8',
};

const SHARD = 3;
const ROOM = 70;

describe('the statement that writes a batch of events', function () {
  this.timeout(60_000);
  let clone: TestDatabase;
  let nid = 0;

  before(async () => {
    clone = await cloneDatabase();
  });
  after(() => clone.drop());

  const guards = (epoch = 0): ShardGuard[] => [{ shard: SHARD, epoch, sequence: nid }];
  const eventRow = (more: Partial<EventRow> = {}): EventRow => {
    nid += 1;
    const pdu = { type: 'm.room.message', sender: '@a:b', content: {}, origin_server_ts: 1_000 + nid };
    return {
      room: ROOM,
      nid,
      topo: nid,
      eventId: Buffer.from(`id of ${nid}`),
      pdu: pdu as EventRow['pdu'],
      json: `{"n":${nid}}`,
      type: 1,
      skey: undefined,
      sender: 2,
      state: 0,
      prev: [],
      auth: [],
      rel: undefined,
      relType: undefined,
      replaces: undefined,
      currentState: undefined,
      flags: 0,
      ...more,
    };
  };

  describe('is one text for each size of batch', () => {
    const textOf = (name: string): string =>
      WRITE_EVENTS.sizes.find(({ statement }) => statement.name === name)?.statement.text ?? '';
    const stepsOf = (text: string): string[] => [...text.matchAll(/(\w+) as \(\n/g)].map(([, step]) => step!);

    it('with the tables that messages write, those of state changes beside them, and all', () => {
      const messages = ['guard', 'owned', 'new_events', 'moved_tails', 'new_txn', 'new_mention'];
      const state = [...messages, 'new_state_delta', 'new_member'];
      const all = [
        ...state,
        ...[
          'new_rooms',
          'new_room_tail',
          'new_aliases',
          'new_outbox',
          'redacted',
          'sent_delayed',
          'new_awaited_relations',
          'arrived',
        ],
        ...[
          'connected',
          'new_missing_prev',
          'found',
          'new_state_resets',
          'new_sticky_events',
          'revived',
          'delivered',
          'new_events_set_aside',
          'new_awaited_redactions',
          'new_partial_rooms',
          'rewritten',
          'rejected',
        ],
      ];
      expect(WRITE_EVENTS.sizes.map(({ statement: { name, text } }) => [name, stepsOf(text)])).to.deep.equal([
        ['write_messages', messages],
        ['write_state', state],
        ['write_events', all],
      ]);
    });

    it('in which a message is one row of events, guarded by the epoch of its shard', () => {
      expect(textOf('write_messages').split('\n), moved_tails')[0]).to.equal(`with guard as (
update shards s set seq = greatest(s.seq, g.seq) from unnest($1::smallint[], $2::bigint[], $3::bigint[]) g(id, epoch, seq)
where s.id = g.id and s.epoch = g.epoch returning s.id
), owned as (
select 1 from guard having count(*) = (select count(*) from unnest($1::smallint[]) g(id))
), new_events as (
insert into events (room, nid, topo, event_id, type, skey, sender, ts, state, prev, auth, rel, rel_type, flags, json, replaces, current_state, delay_id, sent_by, annotation)
select n.room, n.nid, n.topo, n.event_id, n.type, n.skey, n.sender, n.ts, n.state, n.prev::bigint[], n.auth::bigint[], case when n.rel_id is null then n.rel else (select t.nid from events t where t.event_id = n.rel_id and t.room + 0 = n.room) end, n.rel_type, n.flags, n.json, n.replaces, n.current_state, n.delay_id, n.sent_by, n.annotation
from owned, unnest($4::int[], $5::bigint[], $6::bigint[], $7::bytea[], $8::int[], $9::int[], $10::int[], $11::bigint[], $12::bigint[], $13::text[], $14::text[], $15::bigint[], $16::bytea[], $17::int[], $18::int[], $19::text[], $20::bigint[], $21::bigint[], $22::text[], $23::text[], $24::bigint[]) n(room, nid, topo, event_id, type, skey, sender, ts, state, prev, auth, rel, rel_id, rel_type, flags, json, replaces, current_state, delay_id, sent_by, annotation)`);
    });

    it('whose parameters are numbered without gaps', () => {
      for (const { statement } of WRITE_EVENTS.sizes) {
        const numbers = new Set([...statement.text.matchAll(/\$(\d+)/g)].map(([, number]) => Number(number)));
        expect([...numbers]).to.deep.equal(Array.from(numbers, (_, index) => index + 1));
      }
    });

    it('whose columns are those of the database, in name and type', async () => {
      for (const table of Object.values(tables).filter((value) => value instanceof BatchTable)) {
        const rows = await clone.database.query<{ name: string; type: string }>(COLUMNS_OF, [table.name]);
        const stored = new Map(rows.map(({ name, type }) => [name, type]));
        for (const [name, { type, isArgument }] of Object.entries(table.columns)) {
          // What arrives is looked for in awaited_relations; its position goes into events.
          if (isArgument === true || (table === tables.ARRIVING && name === 'nid')) continue;
          expect(stored.get(name), `${table.name}.${name}`).to.equal(TYPES[type] ?? type);
        }
      }
    });
  });

  it('writes nothing when the shard has another owner', async () => {
    const write = { events: [eventRow()], tails: [], jobs: [{ job: 'test', payload: {}, createdTs: 1 }] };
    const error = await writeEvents(clone.database, guards(7), [write]).catch((thrown: unknown) => thrown);
    expect(error).to.be.instanceOf(StaleEpochError);
    const left = sql('test_left', 'select (select count(*) from events) + (select count(*) from outbox) as n');
    expect(await clone.database.query(left)).to.deep.equal([{ n: 0 }]);
  });

  it('gives an event that was refused its new position in the commit that takes the old one away', async () => {
    const own = await cloneDatabase();
    try {
      const idsOf = sql('test_ids', "select nid, encode(event_id, 'escape') as id from events order by nid");
      const refused = eventRow({ eventId: Buffer.from('same'), flags: EVENT_FLAGS.rejected });
      await writeEvents(own.database, guards(), [{ events: [refused], tails: [] }]);
      const accepted = eventRow({ eventId: Buffer.from('same') });
      const write = { events: [accepted], tails: [], replaced: [{ room: ROOM, nid: refused.nid }] };
      const error = await writeEvents(own.database, guards(7), [write]).catch((thrown: unknown) => thrown);
      expect(error).to.be.instanceOf(StaleEpochError);
      expect(await own.database.query(idsOf)).to.deep.equal([{ nid: refused.nid, id: 'same' }]);
      await writeEvents(own.database, guards(), [write]);
      expect(await own.database.query(idsOf)).to.deep.equal([
        { nid: refused.nid, id: 'same\\000' },
        { nid: accepted.nid, id: 'same' },
      ]);
    } finally {
      await own.drop();
    }
  });

  it('has a new column of events by one line beside the migration', async () => {
    const own = await cloneDatabase();
    try {
      await own.database.query(sql('test_migrate', 'alter table events add column bytes int'));
      const events = BatchTable.declare<EventBatch, EventRow>({
        name: 'events',
        rows: ({ writes }) => writes.flatMap((write) => write.events),
        columns: { ...EVENT_COLUMNS, bytes: int((event) => Buffer.byteLength(event.json)) },
      });
      const statements = new BatchStatements<EventBatch>(
        [{ name: 'test_new_column', steps: [insertStep(events, { after: 'returning nid' })] }],
        () => 'select 1 from new_events',
      );
      const event = eventRow({ json: '{"猫":1}' });
      await statements.write(own.database, { guards: [], writes: [{ events: [event], tails: [] }] });
      const rows = await own.database.query(sql('test_bytes', 'select nid, bytes from events'));
      expect(rows).to.deep.equal([{ nid: event.nid, bytes: 9 }]);
    } finally {
      await own.drop();
    }
  });

  describe('writes what random batches hold', () => {
    const integer = fc.integer({ min: 0, max: 2 ** 31 - 1 });
    const large = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
    const text = fc.string({ unit: 'grapheme', maxLength: 20 }).filter((value) => !value.includes('\0'));
    const bytes = fc.uint8Array({ maxLength: 12 }).map((value) => Buffer.from(value));
    const maybe = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(value, { nil: undefined });
    const few = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T[]> => fc.array(value, { maxLength: 4 });
    const room = fc.integer({ min: 1, max: 3 });
    const user = fc.integer({ min: 1, max: 5 });

    const event = fc.record({
      room,
      topo: large,
      type: integer,
      skey: maybe(integer),
      sender: integer,
      state: large,
      prev: few(large),
      auth: few(large),
      rel: maybe(large),
      relType: maybe(integer),
      replaces: maybe(large),
      currentState: maybe(large),
      flags: fc.integer({ min: 0, max: 127 }),
      delayId: maybe(text),
      sentBy: maybe(text),
      json: text,
    });
    const write = fc.record({
      isReceived: fc.boolean(),
      events: fc.array(event, { maxLength: 3 }),
      deltas: few(fc.record({ room, seq: integer, chain: bytes, others: bytes, members: bytes })),
      members: few(
        // Whether a user is local never changes.
        fc
          .record({ room, user, membership: user, event: large, since: large })
          .map((row) => ({ ...row, local: row.user > 2 })),
      ),
      tails: few(fc.record({ room, extremities: few(large), state: large, depth: large, lastPos: large })),
      mentions: few(fc.record({ user, room, thread: fc.option(large), kind: user })),
      txns: few(fc.record({ eventId: text, day: integer })),
      jobs: few(fc.record({ job: text, payload: fc.jsonValue(), createdTs: large })),
      stickies: few(fc.record({ room, pos: fc.option(large), expires: large })),
      redacts: fc.boolean(),
    });
    const ALL: Readonly<Record<string, string>> = {
      events: `select room, nid, topo, event_id, type, skey, sender, ts, state, prev, auth, rel, rel_type, flags, json, replaces,
        redacted_by, current_state, delay_id, sent_by from events order by nid`,
      state_delta: 'select nid, room, seq, chain, others, members from state_delta order by nid',
      member: 'select room, user_nid, membership, event, since, local from member order by room, user_nid',
      room_tail: 'select room, extremities, state, depth, last_pos from room_tail order by room',
      mention: 'select user_nid, room, pos, thread, kind from mention order by pos, user_nid',
      txn: 'select key, event_id, day from txn order by day, key',
      outbox: 'select job, payload, created_ts from outbox order by id',
      sticky_events: 'select room, event, pos, expires from sticky_events order by event',
    };

    it('and reads them back as they are', async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.array(write, { minLength: 1, maxLength: 4 }), { maxLength: 4 }),
          async (batches) => {
            await clone.database.query(
              sql('test_truncate', `truncate ${Object.keys(ALL).join(', ')}, awaited_relations`),
            );
            const model: Record<string, Map<string | number, object>> = Object.fromEntries(
              Object.keys(ALL).map((name) => [name, new Map<string | number, object>()]),
            );
            const put = (table: string, key: string | number, row: object): unknown => model[table]!.set(key, row);
            // The tail of a room is there from its first batch on.
            for (const nid of [1, 2, 3]) {
              await clone.database.query(
                sql(
                  'test_first_tail',
                  "insert into room_tail (room, extremities, state, depth, last_pos) values ($1, '{}', 0, 0, 0)",
                ),
                [nid],
              );
              put('room_tail', nid, { room: nid, extremities: [], state: 0, depth: 0, last_pos: 0 });
            }
            const redactable: EventRow[] = [];
            for (const batch of batches) {
              const added: EventRow[] = [];
              const writes: EventWrite[] = batch.map(({ redacts, ...spec }) => {
                const events = spec.events.map((one) => eventRow(one));
                added.push(...events);
                const target = redacts ? redactable.pop() : undefined;
                return {
                  ...spec,
                  events,
                  deltas: spec.deltas.map((one) => ({ ...one, nid: (nid += 1) })),
                  mentions: spec.mentions.map((one) => ({ ...one, pos: (nid += 1) })),
                  txns: spec.txns.map((one) => ({ ...one, key: randomUUID() })),
                  stickies: spec.stickies.map((one) => ({ ...one, event: (nid += 1) })),
                  redactions:
                    target === undefined
                      ? []
                      : [{ room: target.room, nid: target.nid, redactedBy: nid, json: 'redacted' }],
                };
              });
              await writeEvents(clone.database, guards(), writes);
              redactable.push(...added);
              for (const { events, deltas, members, tails, mentions, txns, jobs, stickies, redactions } of writes) {
                for (const { redactedBy: _, relType, currentState, delayId, sentBy, eventId, pdu, ...row } of events)
                  put('events', row.nid, {
                    ...row,
                    event_id: eventId,
                    ts: pdu.origin_server_ts,
                    rel: row.rel ?? null,
                    skey: row.skey ?? null,
                    replaces: row.replaces ?? null,
                    rel_type: relType ?? null,
                    current_state: currentState ?? null,
                    delay_id: delayId ?? null,
                    sent_by: sentBy ?? null,
                    redacted_by: null,
                  });
                for (const { nid: position, redactedBy, json } of redactions ?? [])
                  put('events', position, { ...model['events']!.get(position), redacted_by: redactedBy, json });
                for (const row of deltas ?? []) put('state_delta', row.nid, row);
                for (const { user: user_nid, ...row } of members ?? [])
                  put('member', `${row.room} ${user_nid}`, { ...row, user_nid });
                for (const { lastPos: last_pos, ...row } of tails) put('room_tail', row.room, { ...row, last_pos });
                for (const { user: user_nid, ...row } of mentions ?? []) put('mention', row.pos, { ...row, user_nid });
                for (const { eventId: event_id, ...row } of txns ?? []) put('txn', row.key, { ...row, event_id });
                for (const { createdTs: created_ts, ...row } of jobs ?? [])
                  put('outbox', randomUUID(), { ...row, created_ts });
                for (const row of stickies ?? []) put('sticky_events', row.event, row);
              }
            }
            for (const [name, text] of Object.entries(ALL)) {
              const stored = await clone.database.query(sql(`test_all_${name}`, text));
              expect(stored, name).to.have.deep.members([...model[name]!.values()].map((row) => normal(row)));
              expect(stored, name).to.have.length(model[name]!.size);
            }
          },
        ),
        { numRuns: 40 },
      );
    });
  });

  it('makes the tail of a room with the room, and moves on those that are there', async () => {
    const tail = (room: number, depth: number) => ({ room, extremities: [depth], state: 0, depth, lastPos: depth });
    const room = { version: '12', shard: 1, creator: 1, roomType: null, isPublic: false, createdTs: 1 };
    const rooms = [81, 82].map((nid) => ({ ...room, nid, roomId: `!made${nid}:test` }));
    await writeEvents(clone.database, guards(), [{ events: [], tails: [tail(81, 1)], rooms: rooms.slice(0, 1) }]);
    await writeEvents(clone.database, guards(), [
      { events: [], tails: [tail(81, 2)] },
      { events: [], tails: [tail(82, 3)], rooms: rooms.slice(1) },
    ]);
    await writeEvents(clone.database, guards(), [{ events: [], tails: [tail(82, 4)] }]);
    const depths = sql('test_depths', 'select room, depth from room_tail where room > 80 order by room');
    expect(await clone.database.query(depths)).to.deep.equal([
      { room: 81, depth: 2 },
      { room: 82, depth: 4 },
    ]);
  });

  it('connects what is written with what it relates to, wherever that is, and says what was awaited', async () => {
    const target = eventRow();
    await writeEvents(clone.database, guards(), [{ events: [target], tails: [] }]);
    const known = eventRow({ rel: target.eventId, relType: 5 });
    const elsewhere = eventRow({ rel: target.eventId, relType: 5, room: ROOM + 1 });
    const later = Buffer.from('comes later');
    const early = eventRow({ rel: later, relType: 5, flags: EVENT_FLAGS.threaded });
    await writeEvents(clone.database, guards(), [{ events: [known, elsewhere, early], tails: [] }]);
    const relations = sql('test_rel', 'select nid, rel from events where nid = any($1::bigint[]) order by nid');
    const positions = [known.nid, elsewhere.nid, early.nid];
    expect(await clone.database.query(relations, [positions])).to.deep.equal([
      { nid: known.nid, rel: target.nid },
      { nid: elsewhere.nid, rel: null },
      { nid: early.nid, rel: null },
    ]);
    const arriving = eventRow({ eventId: later });
    const wasAwaited = await writeEvents(clone.database, guards(), [
      { events: [arriving], tails: [], isReceived: true },
    ]);
    expect([wasAwaited(arriving.nid), wasAwaited(known.nid)]).to.deep.equal([true, false]);
    expect((await clone.database.query(relations, [positions]))[2]).to.deep.equal({
      nid: early.nid,
      rel: arriving.nid,
    });
  });
});

/** As PostgreSQL gives it back: JSON has no -0. */
const normal = (row: object): object =>
  'payload' in row ? { ...row, payload: JSON.parse(JSON.stringify(row.payload)) as unknown } : row;
