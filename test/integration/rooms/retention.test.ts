import { expect } from 'chai';
import pg from 'pg';
import { redisProgram, startRedis } from '#test/jobs/redis.ts';
import { ChildServer } from '#test/support/child-server.ts';
import { emptyDatabase } from '#test/support/database.ts';
import { HeldRows } from '#test/support/held-rows.ts';
import { ask, must } from '#test/support/http.ts';
import { until } from '#test/support/until.ts';

// What a test expects in a body it says itself.
// oxlint-disable-next-line typescript/no-explicit-any
type Json = any;

/** The same wherever the queues are. */
function promises(env: () => Readonly<Record<string, string>>): void {
  let server: ChildServer;
  let database: pg.Client;
  let url: string;
  let alice: string;
  before(async () => {
    url = await emptyDatabase();
    server = await ChildServer.start({
      database: url,
      env: { TSUDOI_RETENTION__INTERVAL_MS: '300', TSUDOI_RETENTION__PAUSE_MS: '0', ...env() },
    });
    database = new pg.Client({ connectionString: url });
    await database.connect();
    const body = { username: 'alice', password: 'a long password', auth: { type: 'm.login.dummy' } };
    alice = (await must(server.url, 'POST', '/register', { body })).access_token;
  });
  after(async () => {
    await database?.end();
    await server?.dispose();
  });

  const get = (path: string): Promise<Json> => must(server.url, 'GET', path, { token: alice });
  const room = async (): Promise<string> =>
    (await must(server.url, 'POST', '/createRoom', { token: alice, body: { name: 'Tea' } })).room_id;
  const say = async (roomId: string, text: string): Promise<string> => {
    const path = `/rooms/${roomId}/send/m.room.message/${encodeURIComponent(text)}`;
    return (await must(server.url, 'PUT', path, { token: alice, body: { msgtype: 'm.text', body: text } })).event_id;
  };
  const age = (roomId: string): Promise<unknown> =>
    database.query('update events set ts = ts - 86400000 where room = (select nid from rooms where room_id = $1)', [
      roomId,
    ]);
  const keepFor = (roomId: string, ms: number): Promise<Json> =>
    must(server.url, 'PUT', `/rooms/${roomId}/state/m.room.retention/`, { token: alice, body: { max_lifetime: ms } });
  const bodies = async (roomId: string): Promise<string[]> => {
    const page = await get(`/rooms/${roomId}/messages?dir=b&limit=100`);
    expect(page.end).to.equal(undefined);
    return page.chunk.filter((event: Json) => event.type === 'm.room.message').map((event: Json) => event.content.body);
  };
  const purged = (isPurged: () => Promise<boolean>): Promise<boolean> =>
    until(() => `it is purged:\n${server.output.slice(-2_000)}`, isPurged);

  it('lets old messages go where the room says so, and history ends cleanly', async () => {
    const roomId = await room();
    const other = await room();
    const gone = await say(roomId, 'old');
    await say(other, 'kept');
    const { next_batch: since } = await get('/sync');
    await age(roomId);
    await age(other);
    const young = await say(roomId, 'young');
    await keepFor(roomId, 3_600_000);
    await purged(async () => !(await bodies(roomId)).includes('old'));
    expect(await bodies(roomId)).to.deep.equal(['young']);
    expect(await bodies(other)).to.deep.equal(['kept']);
    expect((await ask(server.url, 'GET', `/rooms/${roomId}/event/${gone}`, { token: alice })).status).to.equal(404);
    expect((await ask(server.url, 'GET', `/rooms/${roomId}/context/${gone}`, { token: alice })).status).to.equal(404);
    const context = await get(`/rooms/${roomId}/context/${young}`);
    expect(context.event.event_id).to.equal(young);
    expect(context.events_before).to.deep.equal([]);
    expect(context.state.map((event: Json) => event.type)).to.include.members([
      'm.room.create',
      'm.room.name',
      'm.room.member',
    ]);
    for (const query of ['', `?since=${since}`]) {
      const { rooms } = await get(`/sync${query}`);
      const texts = rooms.join[roomId].timeline.events.map((event: Json) => event.content.body).filter(Boolean);
      expect(texts).to.deep.equal(['young']);
    }
  });

  it('leaves a room that can be used after a restart, and takes up what it had not done before', async () => {
    const roomId = await room();
    for (let i = 0; i < 5; i++) await say(roomId, `old ${i}`);
    await age(roomId);
    await keepFor(roomId, 1);
    expect(await server.stop()).to.equal(0);
    await server.launch();
    await purged(async () => (await bodies(roomId)).length === 0);
    const next = await say(roomId, 'goes on');
    const { rooms } = await get('/sync');
    expect(rooms.join[roomId].timeline.events.at(-1).event_id).to.equal(next);
    const types = (await get(`/rooms/${roomId}/state`)).map((event: Json) => event.type);
    expect(types).to.include.members(['m.room.create', 'm.room.name', 'm.room.retention', 'm.room.member']);
  });

  it('resumes after it was killed while it purged', async () => {
    const roomId = await room();
    for (let i = 0; i < 5; i++) await say(roomId, `old ${i}`);
    await age(roomId);
    const held = await HeldRows.hold(
      url,
      'select 1 from events where room = (select nid from rooms where room_id = $1) order by nid desc limit 1 for update',
      [roomId],
    );
    await keepFor(roomId, 1);
    await held.areWaitedFor();
    await server.kill('SIGKILL');
    await held.release();
    await server.launch();
    await purged(async () => (await bodies(roomId)).length === 0);
  });
}

describe('room retention', function () {
  this.timeout(90_000);
  promises(() => ({}));
});

describe('room retention with queues in Redis', function () {
  this.timeout(90_000);
  let redis: Awaited<ReturnType<typeof startRedis>> | undefined;
  before(async function () {
    if (redisProgram === undefined) this.skip();
    redis = await startRedis();
  });
  after(() => redis?.stop());
  promises(() => ({ TSUDOI_REDIS__URL: redis!.url }));
});
