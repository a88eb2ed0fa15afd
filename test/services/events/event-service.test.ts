import { expect } from 'chai';
import fc from 'fast-check';
import pg from 'pg';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { ROOM_VERSIONS } from '#src/protocol/room-versions/room-versions.ts';
import type { Transaction } from '#src/services/events/event-draft.ts';
import type { Room } from '#src/services/rooms/room.ts';
import { EVENT_FLAGS } from '#src/storage/repositories/event-writes.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import {
  ALICE,
  BOB,
  eventServices,
  type EventServices,
  makeRoom,
  membership,
  message,
  portrait,
  SERVER,
  topic,
} from '#test/support/event-services.ts';

const user = (n: number): string => `@user${n}:${SERVER}`;
const txn = (txnId: string, deviceId = 'DEVICE'): Transaction => ({ userId: ALICE, deviceId, scope: 'send', txnId });

const refused = async (work: Promise<unknown>): Promise<MatrixError> => {
  try {
    await work;
  } catch (error) {
    expect(error).to.be.instanceOf(MatrixError);
    return error as MatrixError;
  }
  throw new Error('it was not refused');
};

describe('the event service', function () {
  this.timeout(20_000);
  let clone: TestDatabase;
  let admin: pg.Client;
  let services: EventServices;

  before(async () => {
    clone = await cloneDatabase();
    admin = new pg.Client({ connectionString: clone.url });
    await admin.connect();
    services = await eventServices(clone.database);
  });
  after(async () => {
    await admin.end();
    await clone.drop();
  });

  /** What a process that starts now makes of a room. It owns the database from now on. */
  const reloaded = async (room: Room): Promise<Room> => {
    services = await eventServices(clone.database);
    const again = await services.rooms.byId(room.roomId);
    if (again === undefined) throw new Error('the room is gone');
    expect(again).not.to.equal(room);
    return again;
  };

  const rows = async <Row extends object>(text: string, values: unknown[] = []): Promise<Row[]> =>
    (await admin.query<Row>(text, values)).rows;

  describe('rooms of every version', () => {
    for (const { id } of ROOM_VERSIONS.values()) {
      it(`are the same after a restart: version ${id}`, async () => {
        const room = await makeRoom(services, ALICE, id);
        await services.events.send(room, membership(BOB, BOB, 'join', { displayname: 'Bob' }));
        await services.events.send(room, membership(ALICE, user(1), 'invite'));
        for (let i = 0; i < 30; i++) await services.events.send(room, message(BOB, `text ${i} 日本語`));
        for (let i = 0; i < 12; i++) await services.events.send(room, topic(ALICE, `topic ${i}`));
        const said = await services.events.send(room, message(BOB, 'not for long'));
        await services.events.redact(room, ALICE, said.eventId, { reason: 'test' });
        expect(room.joinedCount).to.equal(2);
        expect(room.invitedCount).to.equal(1);
        const again = await reloaded(room);
        expect(portrait(again)).to.deep.equal(portrait(room));
        expect(again.stateText('m.room.topic', 'topic')).to.equal('topic 11');
        const found = await services.events.find(again, said.eventId);
        expect(found?.content).to.deep.equal({});
        // And it goes on where it was.
        const next = await services.events.send(again, message(BOB, 'on'));
        expect(next.topo).to.equal(said.topo + 2);
        expect(next.nid).to.be.above(said.nid);
      });
    }

    it('have as their id what their version says', async () => {
      const old = await makeRoom(services, ALICE, '11');
      const created = await makeRoom(services, ALICE, '12');
      expect(old.roomId).to.match(new RegExp(`^![A-Za-z0-9]{18}:${SERVER.replaceAll('.', '\\.')}$`));
      expect(created.roomId).to.equal(created.stateEvent('m.room.create')?.eventId.replace('$', '!'));
    });

    it('get ids of their own when one user makes many in the same moment', async () => {
      const made = await Promise.all(Array.from({ length: 20 }, () => makeRoom(services)));
      expect(new Set(made.map((room) => room.roomId)).size).to.equal(20);
      expect(new Set(made.map((room) => room.nid)).size).to.equal(20);
    });
  });

  describe('costs', () => {
    const walBytes = async (work: () => Promise<void>): Promise<number> => {
      const position = async (): Promise<string> =>
        (await rows<{ lsn: string }>('select pg_current_wal_insert_lsn()::text as lsn'))[0]!.lsn;
      const begin = await position();
      await work();
      const [row] = await rows<{ bytes: string }>('select pg_wal_lsn_diff($1, $2) as bytes', [await position(), begin]);
      return Number(row!.bytes);
    };

    it('at most one statement for a message in a room that is in use', async () => {
      // A process that finds no transactions of an earlier one has none to look for.
      await admin.query('truncate txn');
      services = await eventServices(clone.database);
      const room = await makeRoom(services);
      await services.events.sendOnce(room, message(ALICE, 'warm'), txn('warm'));
      const before = clone.database.statements();
      for (let i = 0; i < 50; i++) await services.events.sendOnce(room, message(ALICE, `${i}`), txn(`cost${i}`));
      expect(clone.database.statements() - before).to.be.at.most(50);
    });

    it('at most 0.3 statements for each message of 64 senders at once', async () => {
      const rooms = await Promise.all(Array.from({ length: 4 }, () => makeRoom(services)));
      await Promise.all(rooms.map((room) => services.events.send(room, message(ALICE, 'warm'))));
      const before = clone.database.statements();
      let sent = 0;
      await Promise.all(
        Array.from({ length: 64 }, async (_, sender) => {
          for (let i = 0; i < 10; i++) {
            await services.events.sendOnce(rooms[sender % 4]!, message(ALICE, `${i}`), txn(`many${sender}.${i}`));
            sent += 1;
          }
        }),
      );
      expect(sent).to.equal(640);
      expect((clone.database.statements() - before) / sent).to.be.at.most(0.3);
    });

    for (const [members, limit] of [
      [2, 4000],
      [500, 10_000],
    ] as const) {
      it(`at most ${limit} bytes of write-ahead log for a message to ${members} members`, async () => {
        const room = await makeRoom(services, ALICE, '12');
        await Promise.all(
          Array.from({ length: members - 1 }, (_, n) => services.events.send(room, membership(user(n), user(n), 'join'))),
        );
        expect(room.joinedCount).to.equal(members);
        const send = async (count: number): Promise<void> => {
          for (let i = 0; i < count; i++) await services.events.send(room, message(ALICE, 'x'.repeat(60)));
        };
        await send(20);
        const bytes = await walBytes(() => send(200));
        expect(bytes / 200).to.be.at.most(limit);
      });
    }

    it('at most 8 rows to read any state of a room with a long past', async () => {
      const room = await makeRoom(services);
      for (let i = 0; i < 300; i++) await services.events.send(room, topic(ALICE, `${i}`));
      const [longest] = await rows<{ most: number }>(
        'select max(cardinality(chain)) + 1 as most from state_delta where room = $1',
        [room.nid],
      );
      expect(longest!.most).to.be.at.most(8);
    });
  });

  describe('state that is there already', () => {
    it('is not written again', async () => {
      const room = await makeRoom(services);
      const first = await services.events.send(room, topic(ALICE, 'same'));
      const before = clone.database.statements();
      const second = await services.events.send(room, topic(ALICE, 'same'));
      expect(second).to.equal(first);
      expect(clone.database.statements()).to.equal(before);
      const other = await services.events.send(room, topic(ALICE, 'other'));
      expect(other.eventId).not.to.equal(first.eventId);
    });

    it('is not answered with an event that is not committed yet', async () => {
      const room = await makeRoom(services);
      // A lock on the shard keeps the batch from its commit.
      await admin.query('begin');
      await admin.query('select * from shards where id = $1 for update', [room.shard]);
      let answers = 0;
      const count = (): void => void (answers += 1);
      const first = services.events.send(room, topic(ALICE, 'new'));
      const second = services.events.send(room, topic(ALICE, 'new'));
      void first.then(count);
      void second.then(count);
      await new Promise((resolve) => setTimeout(resolve, 100));
      const early = answers;
      await admin.query('rollback');
      expect(early).to.equal(0);
      expect((await second).eventId).to.equal((await first).eventId);
      expect(await rows('select 1 from events where nid = $1', [(await second).nid])).to.have.length(1);
    });
  });

  describe('transaction ids', () => {
    it('make one event, however many send it at once', async () => {
      const room = await makeRoom(services);
      const ids = await Promise.all(Array.from({ length: 50 }, () => services.events.sendOnce(room, message(ALICE, 'once'), txn('a'))));
      expect(new Set(ids).size).to.equal(1);
      expect(await rows(`select 1 from events where room = $1 and skey is null`, [room.nid])).to.have.length(1);
    });

    it('belong to a device, and to an endpoint', async () => {
      const room = await makeRoom(services);
      const one = await services.events.sendOnce(room, message(ALICE, 'x'), txn('shared', 'D1'));
      const two = await services.events.sendOnce(room, message(ALICE, 'x'), txn('shared', 'D2'));
      const three = await services.events.sendOnce(room, message(ALICE, 'x'), { ...txn('shared', 'D1'), scope: 'redact' });
      expect(new Set([one, two, three]).size).to.equal(3);
    });

    it('make no second event after a restart, alone or many at once', async () => {
      const room = await makeRoom(services);
      const keys = Array.from({ length: 30 }, (_, i) => txn(`restart${i}`));
      const before = await Promise.all(keys.map((key) => services.events.sendOnce(room, message(ALICE, 'x'), key)));
      const again = await reloaded(room);
      const after = await Promise.all([...keys, ...keys].map((key) => services.events.sendOnce(again, message(ALICE, 'x'), key)));
      expect(after).to.deep.equal([...before, ...before]);
      expect(await rows(`select 1 from events where room = $1 and skey is null`, [room.nid])).to.have.length(30);
    });

    it('are kept also by a process that no longer asks for earlier ones, and harm no one else in the batch', async () => {
      const room = await makeRoom(services);
      const earlier = await services.events.sendOnce(room, message(ALICE, 'x'), txn('late'));
      const again = await reloaded(room);
      services.events.transactions.earlier = () => Promise.resolve(undefined);
      const [late, ...others] = await Promise.all([
        services.events.sendOnce(again, message(ALICE, 'x'), txn('late')),
        ...Array.from({ length: 20 }, (_, i) => services.events.send(again, message(ALICE, `other ${i}`))),
        services.events.send(again, topic(ALICE, 'other')),
      ]);
      expect(late).to.equal(earlier);
      expect(new Set(others.map((event) => event.eventId)).size).to.equal(21);
      const now = portrait(again);
      expect(portrait(await reloaded(again))).to.deep.equal(now);
    });

    it('may be used again when the event was refused', async () => {
      const room = await makeRoom(services);
      const error = await refused(services.events.sendOnce(room, message(BOB, 'x'), txn('again')));
      expect(error.errcode).to.equal('M_FORBIDDEN');
      await services.events.send(room, membership(BOB, BOB, 'join'));
      expect(await services.events.sendOnce(room, message(BOB, 'x'), txn('again'))).to.match(/^\$/);
    });

    it('are shown to the device that sent the event, and to no other', async () => {
      const room = await makeRoom(services);
      const id = await services.events.sendOnce(room, message(ALICE, 'x'), txn('mine', 'D1'));
      const { nid } = (await services.events.find(room, id))!;
      const { transactions } = services.events;
      expect(transactions.transactionIdFor(nid, ALICE, 'D1')).to.equal('mine');
      expect(transactions.transactionIdFor(nid, ALICE, 'D2')).to.equal(undefined);
      expect(transactions.transactionIdFor(nid, BOB, 'D1')).to.equal(undefined);
    });
  });

  describe('redaction', () => {
    it('empties a message, in memory and on disk, and tells why', async () => {
      const room = await makeRoom(services);
      const said = await services.events.send(room, message(ALICE, 'secret words'));
      const id = await services.events.redact(room, ALICE, said.eventId, { reason: 'typo' });
      expect(said.clientJson({ membership: 'join' }, false)).not.to.contain('secret');
      expect(said.redactedBecause?.eventId).to.equal(id);
      const [row] = await rows<{ json: string; redacted_by: string }>('select json, redacted_by from events where nid = $1', [said.nid]);
      expect(row!.json).not.to.contain('secret');
      const again = await reloaded(room);
      const found = await services.events.find(again, said.eventId);
      expect(found?.json).to.equal(said.json);
      expect(found?.redactedBecause?.eventId).to.equal(id);
    });

    it('of a state event leaves its place in the state, and what its version keeps', async () => {
      const room = await makeRoom(services);
      const set = await services.events.send(room, topic(ALICE, 'secret words'));
      await services.events.redact(room, ALICE, set.eventId, {});
      expect(room.stateEvent('m.room.topic')?.eventId).to.equal(set.eventId);
      expect(room.stateText('m.room.topic', 'topic')).to.equal(undefined);
      const again = await reloaded(room);
      expect(portrait(again)).to.deep.equal(portrait(room));
      expect(again.stateEvent('m.room.topic')?.content).to.deep.equal({});
      // What the redacted event said may be said again.
      const anew = await services.events.send(again, topic(ALICE, 'secret words'));
      expect(again.stateEvent('m.room.topic')).to.equal(anew);
      expect(anew.clientJson({ membership: 'join' }, false).match(/secret/g)).to.have.length(1);
    });

    it('of an event that has since been replaced is seen in what replaced it', async () => {
      const room = await makeRoom(services);
      const first = await services.events.send(room, topic(ALICE, 'secret words'));
      await services.events.send(room, topic(ALICE, 'harmless'));
      // In memory only what replaced it: the replaced event comes along with that.
      const again = await reloaded(room);
      const later = again.stateEvent('m.room.topic')!;
      expect(later.clientJson({ membership: 'join' }, false)).to.contain('secret');
      await services.events.redact(again, ALICE, first.eventId, {});
      expect(later.clientJson({ membership: 'join' }, false)).not.to.contain('secret');
    });

    it('of an id that nobody knows is sent all the same', async () => {
      const room = await makeRoom(services);
      const id = await services.events.redact(room, ALICE, `$${'a'.repeat(43)}`, {});
      expect((await services.events.find(room, id))?.type).to.equal('m.room.redaction');
    });

    it('of an event of another room changes nothing there', async () => {
      const [here, there] = [await makeRoom(services), await makeRoom(services)];
      const said = await services.events.send(there, message(ALICE, 'stays'));
      await services.events.redact(here, ALICE, said.eventId, {});
      expect(said.content['body']).to.equal('stays');
      expect(said.redactedBecause).to.equal(undefined);
      const [row] = await rows<{ json: string }>('select json from events where nid = $1', [said.nid]);
      expect(row!.json).to.contain('stays');
    });

    it('is for the sender and for those with the power to', async () => {
      const room = await makeRoom(services);
      for (const name of [BOB, user(1)]) await services.events.send(room, membership(name, name, 'join'));
      const said = await services.events.send(room, message(BOB, 'mine'));
      expect((await refused(services.events.redact(room, user(1), said.eventId, {}))).errcode).to.equal('M_FORBIDDEN');
      expect(said.redactedBecause).to.equal(undefined);
      await services.events.redact(room, BOB, said.eventId, {});
      expect(said.redactedBecause).not.to.equal(undefined);
    });
  });

  describe('relations', () => {
    it('point at the event in the same room, and never into another one', async () => {
      const [here, there] = [await makeRoom(services), await makeRoom(services)];
      const root = await services.events.send(here, message(ALICE, 'root'));
      const reply = (body: string): Parameters<typeof services.events.send>[1] => ({
        ...message(ALICE, body),
        content: { body, 'm.relates_to': { rel_type: 'm.thread', event_id: root.eventId } },
      });
      const own = await services.events.send(here, reply('a'));
      const foreign = await services.events.send(there, reply('b'));
      const relOf = async (nid: number): Promise<unknown> =>
        (await rows<{ rel: string | null }>('select rel from events where nid = $1', [nid]))[0]?.rel;
      expect(await relOf(own.nid)).to.equal(String(root.nid));
      expect(await relOf(foreign.nid)).to.equal(null);
      expect(own.flags & EVENT_FLAGS.threaded).to.equal(EVENT_FLAGS.threaded);
    });
  });

  describe('createRoom', () => {
    const counts = async (): Promise<unknown> =>
      rows(`select (select count(*) from rooms) rooms, (select count(*) from events) events, (select count(*) from member) members,
        (select count(*) from state_delta) deltas, (select count(*) from room_tail) tails, (select count(*) from aliases) aliases`);

    it('leaves nothing behind when one of its events is forbidden', async () => {
      const before = await counts();
      const error = await refused(makeRoom(services, ALICE, '12', () => [message(BOB, 'not a member')]));
      expect(error.errcode).to.equal('M_FORBIDDEN');
      await services.writer.idle();
      expect(await counts()).to.deep.equal(before);
    });

    it('gives an alias to one of those who want it, and leaves nothing of the others', async () => {
      const make = (creator: string): Promise<Room> =>
        services.events.createRoom({
          version: ROOM_VERSIONS.get('12')!,
          creator,
          createContent: { room_version: '12' },
          isPublic: false,
          events: () => [membership(creator, creator, 'join')],
          alias: `#wanted:${SERVER}`,
        });
      const [before] = (await counts()) as { rooms: string; aliases: string; events: string }[];
      const results = await Promise.allSettled([make(ALICE), make(BOB), make(user(1))]);
      const made = results.filter((result) => result.status === 'fulfilled');
      expect(made).to.have.length(1);
      for (const result of results) {
        if (result.status === 'rejected') expect((result.reason as MatrixError).errcode).to.equal('M_ROOM_IN_USE');
      }
      const [after] = (await counts()) as { rooms: string; aliases: string; events: string }[];
      expect([after!.rooms, after!.aliases, after!.events].map(Number)).to.deep.equal([
        Number(before!.rooms) + 1,
        Number(before!.aliases) + 1,
        Number(before!.events) + 2,
      ]);
    });

    it('makes a room of which there is one object, also for those who find its row before its publication', async () => {
      const { writer, rooms } = services;
      // Account data in the same batch, kept from its commit by a lock: the room is committed, but not published yet.
      await admin.query('begin');
      await admin.query('lock table account_data');
      let along: Promise<void> | undefined;
      const announce = rooms.announce.bind(rooms);
      rooms.announce = (room) => {
        announce(room);
        const pos = writer.allocate(3);
        along = writer.append({
          positions: [pos],
          streams: { accountData: [{ user: 1, room: 0, type: 'along', content: '{}', pos }] },
          publish: () => {},
        });
      };
      const making = makeRoom(services, ALICE);
      let early: Room | undefined;
      const other = new pg.Client({ connectionString: clone.url });
      await other.connect();
      try {
        for (let attempt = 0; attempt < 200 && early === undefined; attempt++) {
          const { rows: found } = await other.query<{ nid: number }>('select max(room) as nid from room_tail');
          early = await rooms.byNid(found[0]!.nid);
          if (early?.lastPosition !== 0) early = undefined;
          await new Promise((resolve) => setTimeout(resolve, 5));
        }
      } finally {
        await other.end();
        await admin.query('rollback');
      }
      const room = await making;
      await along;
      rooms.announce = announce;
      expect(early).to.equal(room);
      expect(await rooms.byId(room.roomId)).to.equal(room);
    });
  });

  /** Holds a room's rows against the rule that local events make one line, and its states against a replay. */
  const expectOneLine = async (room: Room): Promise<void> => {
    const stored = await rows<{ nid: string; topo: string; prev: string[]; state: string; skey: number | null }>(
      'select nid, topo, prev, state, skey from events where room = $1 order by nid',
      [room.nid],
    );
    let before: (typeof stored)[number] | undefined;
    const plain = new Map<number, number>();
    let state = '0';
    for (const row of stored) {
      expect(row.prev).to.deep.equal(before === undefined ? [] : [before.nid]);
      expect(Number(row.topo)).to.equal(before === undefined ? 1 : Number(before.topo) + 1);
      expect(row.state).to.equal(state);
      if (row.skey !== null) {
        state = row.nid;
        plain.set(row.skey, Number(row.nid));
      }
      before = row;
    }
    expect(room.stateId).to.equal(Number(state));
    const chain = room.stateChain;
    expect(new Map([...chain.others(), ...chain.members()].sort((a, b) => a[0] - b[0]))).to.deep.equal(
      new Map([...plain].sort((a, b) => a[0] - b[0])),
    );
  };

  describe('many at once', () => {
    it('messages and changes of state of many senders make one line, with every event in it', async () => {
      const room = await makeRoom(services);
      const senders = Array.from({ length: 16 }, (_, n) => user(n));
      await Promise.all(senders.map((sender) => services.events.send(room, membership(sender, sender, 'join'))));
      const ids = await Promise.all(
        senders.flatMap((sender, n) =>
          Array.from({ length: 20 }, async (_, i) => {
            if (i % 5 === 0) return (await services.events.send(room, topic(sender, `${n} ${i}`))).eventId;
            if (i % 7 === 0) return (await services.events.send(room, membership(sender, sender, 'join', { displayname: `${i}` }))).eventId;
            return (await services.events.send(room, message(sender, `${i}`))).eventId;
          }),
        ),
      );
      expect(new Set(ids).size).to.equal(ids.length);
      for (const id of ids) expect(await services.events.find(room, id)).not.to.equal(undefined);
      await expectOneLine(room);
      expect(portrait(await reloaded(room))).to.deep.equal(portrait(room));
    });

    const action = fc.record({
      kind: fc.constantFrom('message', 'message', 'message', 'topic', 'name', 'join', 'leave', 'kick', 'ban', 'unban', 'invite', 'redact', 'levels', 'poison'),
      actor: fc.nat(5),
      target: fc.nat(5),
      pick: fc.nat(1000),
      // How many turns of the event loop to wait before the next.
      pause: fc.constantFrom(0, 0, 0, 0, 1, 2, 30),
    });

    it('a room in memory equals the one that a new process reads, whatever was done to it at once', async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(action, { minLength: 1, maxLength: 80 }), async (actions) => {
          const name = (n: number): string => (n === 0 ? ALICE : user(n));
          const room = await makeRoom(services);
          const { events } = services;
          const known: string[] = [];
          const running: Promise<unknown>[] = [];
          for (const { kind, actor, target, pick, pause } of actions) {
            const [by, of] = [name(actor), name(target)];
            const state = (type: string, content: object): Promise<{ eventId: string }> =>
              events.send(room, { type, sender: by, stateKey: '', content: content as never });
            const work = async (): Promise<void> => {
              if (kind === 'redact') {
                const id = known[pick % Math.max(known.length, 1)];
                if (id !== undefined) known.push(await events.redact(room, by, id, {}));
                return;
              }
              const event = await (kind === 'message' ? events.send(room, message(by, `${pick}`))
              : kind === 'topic' ? events.send(room, topic(by, `${pick % 3}`))
              : kind === 'name' ? state('m.room.name', { name: `${pick % 3}` })
              : kind === 'levels' ? state('m.room.power_levels', { users: { [name(1)]: pick % 100 }, state_default: pick % 2 })
              : kind === 'join' || kind === 'leave' ? events.send(room, membership(by, by, kind))
              // The database refuses it, and everything that was built on it in the meantime.
              : kind === 'poison' ? events.send(room, message(by, 'x'), ).then(() => events.sendOnce(room, message(by, 'y'), txn('taken')))
                .then((eventId) => ({ eventId }))
              : events.send(room, membership(by, of, kind === 'kick' || kind === 'unban' ? 'leave' : kind)));
              known.push(event.eventId);
            };
            running.push(
              work().catch((error: unknown) => {
                if (!(error instanceof MatrixError)) throw error;
                expect(error.errcode).to.equal('M_FORBIDDEN');
              }),
            );
            for (let turn = 0; turn < pause; turn++) await new Promise((resolve) => setImmediate(resolve));
          }
          await Promise.all(running);
          await expectOneLine(room);
          const again = await reloaded(room);
          services.events.transactions.earlier = () => Promise.resolve(undefined);
          expect(portrait(again)).to.deep.equal(portrait(room));
        }),
        { numRuns: 40 },
      );
    });
  });
});
