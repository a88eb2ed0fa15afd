import { expect } from 'chai';
import { purgeRoom } from '#src/jobs/definitions.ts';
import { sql } from '#src/storage/statement.ts';
import type { JsonObject, JsonValue } from '#src/protocol/json/json-value.ts';
import { type Federation, startFederation } from '#test/support/federation/federation.ts';
import { InProcessServer, type Json } from '#test/support/in-process-server.ts';
import { JoinableRoom } from '#test/support/federation/joinable-room.ts';

const V1 = '/_synapse/admin/v1';
const UPDATES = `${V1}/background_updates`;
const LOSE_ENTRIES = sql('test_updates_lose', 'delete from directory_users');
const LOSE_ROOMS = sql('test_updates_lose_rooms', 'delete from directory_rooms');
const LOSE_OVERVIEWS = sql('test_updates_lose_overviews', 'delete from room_overviews');
const STALE = sql(
  'test_updates_stale',
  `with made as (insert into users (user_id, local) values ($1, $2) returning nid)
   insert into directory_users (user_nid, user_id, local, folded_id, folded_name, grams) select nid, $1, $2, $1, '', '{}' from made`,
);
const ENTRIES = sql(
  'test_updates_entries',
  'select user_id as id from directory_users where user_id = any($1::text[])',
);
const OPEN_ROOM = sql('test_updates_open_room', 'select room from directory_rooms where room = $1');

describe('an update of what is stored', function () {
  this.timeout(60_000);
  let federation: Federation;
  before(async () => {
    federation = await startFederation(['a.test'], { partners: ['p.test'] });
  });
  after(() => federation?.stop());

  it('comes to its end whatever users of other servers are called, and whatever their rooms are', async () => {
    const a = federation.server('a.test');
    const room = new JoinableRoom(federation.partner('p.test'));
    const names: JsonValue[] = [
      'a\0nul',
      'x'.repeat(30_000),
      '𝒳'.repeat(3_000),
      '\u202e\u0301'.repeat(3_000),
      '',
      ' ',
      7,
      null,
      {},
      [],
      true,
    ];
    const users = names.map((name, index) => {
      const member = `@odd${index}:p.test`;
      const content: JsonObject = { membership: 'join', displayname: name, avatar_url: name };
      room.add({ type: 'm.room.member', sender: member, stateKey: member, content });
      return member;
    });
    for (const [type, content] of [
      ['m.room.name', { name: 'n\0'.repeat(5_000) }],
      ['m.room.canonical_alias', { alias: `#${'a'.repeat(50_000)}:p.test` }],
      ['m.room.encryption', { algorithm: { odd: '\0' } }],
      ['m.room.guest_access', { guest_access: 'x'.repeat(50_000) }],
    ] as const)
      room.add({ type, sender: room.creator, stateKey: '', content });
    room.serveJoins();
    await a.must('alice', 'POST', `/join/${encodeURIComponent(room.roomId)}?via=p.test`, {});
    await federation.idle();
    const { database } = a.services;
    await database.query(LOSE_ENTRIES, []);
    await database.query(LOSE_OVERVIEWS, []);
    for (const job of ['regenerate_directory', 'populate_stats_process_rooms']) {
      await a.must('admin-root', 'POST', `${UPDATES}/start_job`, { job_name: job });
      await a.idle();
      expect((await a.must('admin-root', 'GET', `${UPDATES}/status`)).current_updates, job).to.deep.equal({});
    }
    const entries = await database.query<{ id: string }>(ENTRIES, [[...users, '@alice:a.test']]);
    expect(entries.map(({ id }) => id)).to.have.members([...users, '@alice:a.test']);
    const { rooms } = await a.must('admin-root', 'GET', `${V1}/rooms`);
    expect(rooms.map((listed: Json) => listed.room_id)).to.include(room.roomId);
  });
});

describe('work in the background', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  before(async () => {
    server = await InProcessServer.start();
  });
  after(() => server?.stop());
  afterEach(async () => {
    await server.must('admin-root', 'POST', `${UPDATES}/enabled`, { enabled: true });
    await server.idle();
  });

  const status = (): Promise<Json> => server.must('admin-root', 'GET', `${UPDATES}/status`);
  const enable = (enabled: boolean): Promise<Json> =>
    server.must('admin-root', 'POST', `${UPDATES}/enabled`, { enabled });
  const start = (name: string): Promise<{ status: number; body: Json }> =>
    server.ask('admin-root', 'POST', `${UPDATES}/start_job`, { job_name: name });
  const found = async (term: string): Promise<string[]> =>
    (await server.must('admin-root', 'POST', '/user_directory/search', { search_term: term })).results.map(
      ({ user_id: id }: Json) => id,
    );

  it('is enabled, and no update is being done', async () => {
    expect(await status()).to.deep.equal({ enabled: true, current_updates: {} });
    expect(await server.must('admin-root', 'GET', `${UPDATES}/enabled`)).to.deep.equal({ enabled: true });
  });

  it('waits while it is paused, and is done once it is enabled', async () => {
    const roomId = await server.room('alice');
    await server.idle();
    expect(await enable(false)).to.deep.equal({ enabled: false });
    expect((await status()).enabled).to.equal(false);
    const { database, queues } = server.services;
    const room = (await server.services.rooms.byId(roomId))!.nid;
    await database.write((tx) => tx.enqueue(purgeRoom, { room, beforeTs: 0 }));
    expect((await start('populate_stats_process_rooms')).status).to.equal(200);
    const done = queues.done;
    await server.idle();
    expect(queues.done).to.equal(done);
    expect(queues.running).to.deep.equal([]);
    expect(await enable(true)).to.deep.equal({ enabled: true });
    await server.idle();
    expect(queues.done).to.be.at.least(done + 2);
    expect(await status()).to.deep.equal({ enabled: true, current_updates: {} });
  });

  it('writes the list of rooms anew', async () => {
    const names = ['one', 'two', 'three'].map((name) => `overview-${name}`);
    for (const name of names) await server.room('alice', { name });
    await server.idle();
    await server.services.database.query(LOSE_OVERVIEWS, []);
    const listed = async (): Promise<string[]> =>
      (await server.must('admin-root', 'GET', `${V1}/rooms?search_term=overview-`)).rooms.map(({ name }: Json) => name);
    expect(await listed()).to.deep.equal([]);
    expect(await start('populate_stats_process_rooms')).to.deep.include({ status: 200, body: {} });
    await server.idle();
    expect(await listed()).to.have.members(names);
  });

  it('lists no room as open that is closed while it is written', async () => {
    const { database, directoryEntries, rooms } = server.services;
    const roomId = await server.room('closing', { preset: 'public_chat' });
    await server.idle();
    const room = (await rooms.byId(roomId))!;
    const query = database.query.bind(database);
    let isClosed = false;
    database.query = async (statement, values) => {
      if (statement.name === 'directory_add_rooms' && !isClosed) {
        isClosed = true;
        await server.setState('closing', roomId, 'm.room.join_rules', { join_rule: 'invite' });
        await server.idle();
      }
      return query(statement, values);
    };
    try {
      await directoryEntries.listRoom(room);
    } finally {
      database.query = query;
    }
    expect(isClosed).to.equal(true);
    expect(await database.query(OPEN_ROOM, [room.nid])).to.deep.equal([]);
  });

  it('writes the user directory anew, and takes out who is not here any more', async () => {
    await server.room('directory-peer', { preset: 'public_chat' });
    await server.must('directory-peer', 'PUT', `/profile/@directory-peer:test/displayname`, {
      displayname: '集いの人',
    });
    await server.idle();
    expect(await found('集い')).to.deep.equal(['@directory-peer:test']);
    const { database } = server.services;
    await database.query(LOSE_ENTRIES, []);
    await database.query(LOSE_ROOMS, []);
    const stale = ['@left:elsewhere.test', '@never:test'];
    await database.query(STALE, [stale[0], false]);
    await database.query(STALE, [stale[1], true]);
    expect(await found('集い')).to.deep.equal([]);
    expect((await start('regenerate_directory')).status).to.equal(200);
    await server.idle();
    expect(await found('集い')).to.deep.equal(['@directory-peer:test']);
    expect(await database.query(ENTRIES, [stale])).to.deep.equal([]);
  });

  it('is told of an update by name and by how much it did, while it stands still', async () => {
    for (let room = 0; room < 21; room++) await server.room('alice');
    await server.idle();
    const { backgroundUpdates, roomOverviews } = server.services;
    const write = roomOverviews.write.bind(roomOverviews);
    // Somebody pauses in the first step of two.
    let steps = 0;
    roomOverviews.write = async (rooms) => {
      if ((steps += 1) === 1) await enable(false);
      await write(rooms);
    };
    try {
      await start('populate_stats_process_rooms');
      await server.idle();
      const { current_updates: current, enabled } = await status();
      expect(enabled).to.equal(false);
      expect(current.master).to.include({ name: 'populate_stats_process_rooms' });
      expect(current.master.total_item_count).to.equal(20);
      expect(steps).to.equal(1);
      const again = await start('populate_stats_process_rooms');
      expect(again).to.deep.include({ status: 400 });
      expect(again.body.error).to.equal('Job populate_stats_process_rooms is already in queue of background updates.');
    } finally {
      roomOverviews.write = write;
    }
    await enable(true);
    await server.idle();
    expect(await backgroundUpdates.current()).to.equal(undefined);
  });

  it('is refused by names that nobody knows, and by what is no switch', async () => {
    expect(await start('vacuum')).to.deep.include({
      status: 400,
      body: { errcode: 'M_UNKNOWN', error: 'Invalid job_name' },
    });
    const odd = await server.ask('admin-root', 'POST', `${UPDATES}/enabled`, { enabled: 'no' });
    expect(odd.status).to.equal(400);
    expect(await server.must('admin-root', 'POST', `${UPDATES}/enabled`, {})).to.deep.equal({ enabled: true });
  });
});
