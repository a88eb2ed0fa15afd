import { EVENT_FLAGS } from '#src/protocol/events/event-flags.ts';
import { expect } from 'chai';
import pg from 'pg';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { ROOM_VERSIONS } from '#src/protocol/room-versions/room-versions.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { ALICE, BOB, makeRoom, membership, message, portrait, SERVER, topic } from '#test/support/event-services.ts';
import { query } from '#test/support/database.ts';
import { until } from '#test/support/until.ts';
import { EventDatabase } from './event-database.ts';

const user = (n: number): string => `@user${n}:${SERVER}`;

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
  this.timeout(60_000);
  let db: EventDatabase;

  before(async () => {
    db = await EventDatabase.open();
  });
  after(() => db.drop());

  describe('rooms of every version', () => {
    for (const { id } of ROOM_VERSIONS.values()) {
      it(`are the same after a restart: version ${id}`, async () => {
        const room = await makeRoom(db.services, ALICE, id);
        await db.services.events.send(room, membership(BOB, BOB, 'join', { displayname: 'Bob' }));
        await db.services.events.send(room, membership(ALICE, user(1), 'invite'));
        for (let i = 0; i < 30; i++) await db.services.events.send(room, message(BOB, `text ${i} 日本語`));
        for (let i = 0; i < 12; i++) await db.services.events.send(room, topic(ALICE, `topic ${i}`));
        const said = await db.services.events.send(room, message(BOB, 'not for long'));
        await db.services.events.redact(room, ALICE, said.eventId, { reason: 'test' });
        expect(room.joinedCount).to.equal(2);
        expect(room.invitedCount).to.equal(1);
        const again = await db.reloaded(room);
        expect(portrait(again)).to.deep.equal(portrait(room));
        expect(again.stateText('m.room.topic', 'topic')).to.equal('topic 11');
        const found = await db.services.events.find(again, said.eventId);
        expect(found?.content).to.deep.equal({});
        // And it goes on where it was.
        const next = await db.services.events.send(again, message(BOB, 'on'));
        expect(next.topo).to.equal(said.topo + 2);
        expect(next.nid).to.be.above(said.nid);
      });
    }

    it('have as their id what their version says', async () => {
      const old = await makeRoom(db.services, ALICE, '11');
      const created = await makeRoom(db.services, ALICE, '12');
      expect(old.roomId).to.match(new RegExp(`^![A-Za-z0-9]{18}:${SERVER.replaceAll('.', '\\.')}$`));
      expect(created.roomId).to.equal(created.stateEvent('m.room.create')?.eventId.replace('$', '!'));
    });

    it('get ids of their own when one user makes many in the same moment', async () => {
      const made = await Promise.all(Array.from({ length: 20 }, () => makeRoom(db.services)));
      expect(new Set(made.map((room) => room.roomId)).size).to.equal(20);
      expect(new Set(made.map((room) => room.nid)).size).to.equal(20);
    });
  });

  describe('state that is there already', () => {
    it('is not written again', async () => {
      const room = await makeRoom(db.services);
      const first = await db.services.events.send(room, topic(ALICE, 'same'));
      const before = db.clone.database.statements();
      const second = await db.services.events.send(room, topic(ALICE, 'same'));
      expect(second).to.equal(first);
      expect(db.clone.database.statements()).to.equal(before);
      const other = await db.services.events.send(room, topic(ALICE, 'other'));
      expect(other.eventId).not.to.equal(first.eventId);
    });

    it('is not answered with an event that is not committed yet', async () => {
      const room = await makeRoom(db.services);
      // A lock on the shard keeps the batch from its commit.
      await db.admin.query('begin');
      await db.admin.query('select * from shards where id = $1 for update', [room.shard]);
      let answers = 0;
      const count = (): void => void (answers += 1);
      const first = db.services.events.send(room, topic(ALICE, 'new'));
      const second = db.services.events.send(room, topic(ALICE, 'new'));
      void first.then(count);
      void second.then(count);
      const early = await until('the batch waits for the lock', async () => {
        const blocked = `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
        const rows = await query(db.clone.url, blocked);
        return rows.length > 0 ? { answers } : undefined;
      });
      await db.admin.query('rollback');
      expect(early.answers).to.equal(0);
      expect((await second).eventId).to.equal((await first).eventId);
      expect(await db.rows('select 1 from events where nid = $1', [(await second).nid])).to.have.length(1);
    });
  });

  describe('relations', () => {
    it('point at the event in the same room, and never into another one', async () => {
      const [here, there] = [await makeRoom(db.services), await makeRoom(db.services)];
      const root = await db.services.events.send(here, message(ALICE, 'root'));
      const reply = (body: string): Parameters<typeof db.services.events.send>[1] => ({
        ...message(ALICE, body),
        content: { body, 'm.relates_to': { rel_type: 'm.thread', event_id: root.eventId } },
      });
      const own = await db.services.events.send(here, reply('a'));
      const foreign = await db.services.events.send(there, reply('b'));
      const relOf = async (nid: number): Promise<unknown> =>
        (await db.rows<{ rel: string | null }>('select rel from events where nid = $1', [nid]))[0]?.rel;
      expect(await relOf(own.nid)).to.equal(String(root.nid));
      expect(await relOf(foreign.nid)).to.equal(null);
      expect(own.flags & EVENT_FLAGS.threaded).to.equal(EVENT_FLAGS.threaded);
    });
  });

  describe('createRoom', () => {
    const counts = async (): Promise<unknown> =>
      db.rows(`select (select count(*) from rooms) rooms, (select count(*) from events) events, (select count(*) from member) members,
        (select count(*) from state_delta) deltas, (select count(*) from room_tail) tails, (select count(*) from aliases) aliases`);

    it('leaves nothing behind when one of its events is forbidden', async () => {
      const before = await counts();
      const error = await refused(makeRoom(db.services, ALICE, '12', () => [message(BOB, 'not a member')]));
      expect(error.errcode).to.equal('M_FORBIDDEN');
      await db.services.writer.idle();
      expect(await counts()).to.deep.equal(before);
    });

    it('gives an alias to one of those who want it, and leaves nothing of the others', async () => {
      const make = (creator: string): Promise<Room> =>
        db.services.events.createRoom({
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
      const { writer, rooms } = db.services;
      // Account data in the same batch, kept from its commit by a lock: the room is committed, but not published yet.
      await db.admin.query('begin');
      await db.admin.query('lock table account_data');
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
      const making = makeRoom(db.services, ALICE);
      let early: Room | undefined;
      const other = new pg.Client({ connectionString: db.clone.url });
      await other.connect();
      try {
        early = await until('the room is committed and not published', async () => {
          const { rows: found } = await other.query<{ nid: number }>('select max(room) as nid from room_tail');
          const room = await rooms.byNid(found[0]!.nid);
          return room?.lastPosition === 0 ? room : undefined;
        });
      } finally {
        await other.end();
        await db.admin.query('rollback');
      }
      const room = await making;
      await along;
      rooms.announce = announce;
      expect(early).to.equal(room);
      expect(await rooms.byId(room.roomId)).to.equal(room);
    });
  });
});
