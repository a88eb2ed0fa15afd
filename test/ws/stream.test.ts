import { once } from 'node:events';
import { until } from '#test/support/until.ts';
import type { Socket } from 'node:net';
import { expect } from 'chai';
import type { Frame, StreamClient } from './stream-client.ts';
import { type Account, StreamServer } from './stream-server.ts';

const ids = (events: readonly { event_id: string }[]): string[] => events.map((event) => event.event_id);

const QUEUE_BYTES = 256 * 1024;

describe('WebSocket API: the stream', () => {
  let server: StreamServer;
  let alice: Account;
  let bob: Account;

  before(async function () {
    this.timeout(60_000);
    server = await StreamServer.start({ config: { websocket: { maxQueueBytes: QUEUE_BYTES } } });
    alice = await server.register('alice');
    bob = await server.register('bob');
  });
  after(() => server.stop());

  it('sends first what an initial sync answers, and then what an incremental one does', async () => {
    const roomId = await server.room(alice, bob);
    // By saying something Alice comes online, which is news of its own.
    await server.say(alice, roomId, 'here I am');
    await until('alice is online', async () => {
      const { presence } = await server.must(alice, 'GET', `/presence/${alice.userId}/status`);
      return presence === 'online';
    });
    const phone = await server.must(undefined, 'POST', '/login', {
      type: 'm.login.password',
      identifier: { type: 'm.id.user', user: 'bob' },
      password: 'correct horse battery',
    });
    // So that he is there already, which both would tell.
    await server.must(bob, 'GET', '/sync');
    await server.app.idle();
    const client = await server.connect({ ...bob, token: phone.access_token });
    const first = await client.sync();
    expect(await server.must(bob, 'GET', '/sync')).to.deep.equal(first);
    await server.say(alice, roomId, 'hello');
    const second = await client.sync();
    expect(await server.must(bob, 'GET', `/sync?since=${first.next_batch}`)).to.deep.equal(second);
    expect(client.bodies(roomId)).to.deep.equal(['here I am', 'hello']);
    await client.end();
  });

  it('sends a first frame even when nothing happened since: the client has caught up', async () => {
    // By her first sync Alice has come online, which she is told a moment later.
    await server.must(alice, 'GET', '/sync');
    await server.app.idle();
    const since = (await server.must(alice, 'GET', '/sync')).next_batch;
    const client = await server.connect(alice, { since });
    expect(await client.sync()).to.deep.equal({
      next_batch: since,
      device_one_time_keys_count: { signed_curve25519: 0 },
      device_unused_fallback_key_types: [],
      'org.matrix.msc2732.device_unused_fallback_key_types': [],
    });
    await client.end();
  });

  it('pushes typing and receipts of others', async () => {
    const roomId = await server.room(alice, bob);
    const eventId = await server.say(alice, roomId, 'read me');
    const [a, b] = [await server.connect(alice), await server.connect(bob)];
    await a.sync();
    await b.must('typing', { room_id: roomId, typing: true, timeout: 20_000 });
    const ephemeral = (type: string): unknown =>
      a.syncs
        .flatMap((frame) => frame.rooms?.join?.[roomId]?.ephemeral?.events ?? [])
        .find((event) => event.type === type);
    expect(await a.until(() => ephemeral('m.typing'))).to.deep.equal({
      type: 'm.typing',
      content: { user_ids: [bob.userId] },
    });
    await b.must('receipt', { room_id: roomId, receipt_type: 'm.read', event_id: eventId });
    await a.until(() => ephemeral('m.receipt'));
    await Promise.all([a.end(), b.end()]);
  });

  it('resumes by since without loss or repeat, whenever the connection breaks', async function () {
    this.timeout(60_000);
    const roomId = await server.room(alice, bob);
    const sent: string[] = [];
    let since = (await server.must(bob, 'GET', '/sync')).next_batch as string;
    let isOver = false;
    const sender = (async () => {
      for (let count = 0; count < 120; count += 1) sent.push(await server.say(alice, roomId, `message ${count}`));
      isOver = true;
    })();
    const got: string[] = [];
    const take = (client: StreamClient): void => {
      got.push(...ids(client.timeline(roomId).filter((event) => event.type === 'm.room.message')));
      if (client.syncs.length > 0) since = client.nextBatch;
    };
    const filter = { room: { timeline: { limit: 1000 } } };
    while (!isOver) {
      const client = await server.connect(bob, { since, filter });
      await client.sync();
      await client.until(() => isOver || client.syncs.length > 1 || undefined);
      // Whatever is on its way is lost: only what was received counts.
      client.socket.removeAllListeners('message');
      client.socket.terminate();
      take(client);
    }
    await sender;
    const last = await server.connect(bob, { since, filter });
    await last.sync();
    take(last);
    await last.end();
    expect(got).to.deep.equal(sent);
  });

  it('applies the filter of auth, and another one from set_filter on', async () => {
    const roomId = await server.room(alice, bob);
    const client = await server.connect(bob, { filter: { room: { timeline: { not_types: ['m.room.message'] } } } });
    await client.sync();
    await server.say(alice, roomId, 'not wanted');
    const stored = await server.must(bob, 'POST', `/user/${encodeURIComponent(bob.userId)}/filter`, {});
    await client.must('set_filter', { filter: stored.filter_id });
    await server.say(alice, roomId, 'wanted');
    await client.message(roomId, 'wanted');
    await client.must('set_filter', { filter: null });
    await server.say(alice, roomId, 'without filter');
    await client.message(roomId, 'without filter');
    expect(client.bodies(roomId)).to.deep.equal(['wanted', 'without filter']);
    expect((await client.request('set_filter', { filter: '12345' })).error.errcode).to.equal('M_NOT_FOUND');
    await client.end();
  });

  it('gives a slow reader one limited catch-up, and keeps no queue for it', async function () {
    this.timeout(60_000);
    const roomId = await server.room(alice, bob);
    const writer = await server.connect(alice);
    const reader = await server.connect(bob);
    await reader.sync();
    const socket = (reader.socket as unknown as { _socket: Socket })._socket;
    socket.pause();
    const body = 'x'.repeat(40_000);
    const sent = 400;
    let last = '';
    for (let start = 0; start < sent; start += 8) {
      const results = await Promise.all(
        Array.from({ length: 8 }, (_, index) =>
          writer.must('send', {
            room_id: roomId,
            event_type: 'm.room.message',
            txn_id: `slow${start + index}`,
            content: { msgtype: 'm.text', body },
          }),
        ),
      );
      last = results.at(-1).event_id;
      // One frame more than the bound at most: it holds all that 8 senders said at once.
      expect(await metric(server, 'tsudoi_websocket_queued_bytes')).to.be.below(QUEUE_BYTES + 10 * 41_000);
    }
    // 16 MB were said; what the kernel's buffers do not hold was not even made into frames.
    expect(await metric(server, 'tsudoi_websocket_pauses_total')).to.be.at.least(1);
    socket.resume();
    await reader.until(() => ids(reader.timeline(roomId)).find((id) => id === last));
    const gaps = reader.syncs.slice(1).filter((frame) => frame.rooms?.join?.[roomId]?.timeline?.limited === true);
    expect(gaps).to.have.length(1);
    expect(reader.timeline(roomId).length).to.be.below(sent);
    expect(new Set(ids(reader.timeline(roomId))).size).to.equal(reader.timeline(roomId).length);
    await server.say(alice, roomId, 'and on it goes');
    await reader.message(roomId, 'and on it goes');
    await Promise.all([writer.end(), reader.end()]);
  });

  it('says with every heartbeat that the user is there', async () => {
    const carol = await server.register('carol');
    const client = await server.connect(carol, { set_presence: 'unavailable' });
    const said = (): unknown[] =>
      server.presence.filter(({ userId }) => userId === carol.userId).map(({ presence }) => presence);
    expect(said()).to.deep.equal(['unavailable']);
    await server.pass(30_000);
    expect(said()).to.deep.equal(['unavailable', 'unavailable']);
    await client.must('presence', { presence: 'online', status_msg: 'here' });
    expect(await server.must(carol, 'GET', `/presence/${encodeURIComponent(carol.userId)}/status`)).to.include({
      presence: 'online',
      status_msg: 'here',
    });
    await server.pass(30_000);
    expect(said()).to.deep.equal(['unavailable', 'unavailable', 'online']);
    await client.end();
  });
});

describe('WebSocket API: the connection', () => {
  let server: StreamServer;
  let alice: Account;

  beforeEach(async function () {
    this.timeout(60_000);
    server = await StreamServer.start({ config: { http: { trustedProxies: ['127.0.0.1'] } } });
    alice = await server.register('alice');
  });
  afterEach(() => server.stop());

  it('is closed after two pings without an answer, while others stay', async () => {
    const dead = await server.connect(alice, {}, { autoPong: false });
    const living = await server.connect(alice);
    const pinged = once(dead.socket, 'ping');
    await server.pass(30_000);
    await pinged;
    await server.pass(30_000);
    expect(dead.socket.readyState).to.equal(dead.socket.OPEN);
    await server.pass(30_000);
    expect((await dead.closed).code).to.equal(1006);
    expect(await living.must('ping')).to.deep.equal({});
    expect(server.api.size).to.equal(1);
    await living.end();
  });

  it('is closed with 1001 when the server drains, after running requests were answered', async () => {
    const roomId = await server.room(alice);
    const client = await server.connect(alice);
    const content = { msgtype: 'm.text', body: 'last words' };
    client.send({
      id: 'last',
      method: 'send',
      params: { room_id: roomId, event_type: 'm.room.message', txn_id: '1', content },
    });
    // It has come by then, and waits for its commit.
    await client.must('ping');
    const draining = server.app.services.http.drain(5_000);
    expect(await client.closed).to.deep.equal({ code: 1001, reason: 'restarting' });
    expect((await client.response('last')).result).to.have.property('event_id');
    // Nobody is waited for: no time passes.
    await draining;
  });

  it('is counted', async () => {
    const client = await server.connect(alice);
    await client.sync();
    await client.must('ping');
    const text = await until('all pushes have come', async () => {
      const rendered = await server.app.metrics.render();
      return rendered.includes(`\ntsudoi_websocket_pushes_total ${client.syncs.length}\n`) ? rendered : undefined;
    });
    expect(text).to.match(/^tsudoi_websocket_open 1$/m);
    expect(text).to.match(/^tsudoi_websocket_frames_total\{direction="received"\} 2$/m);
    expect(text).to.match(/^tsudoi_websocket_request_seconds_count\{method="ping",errcode=""\} 1$/m);
    client.send('not json');
    await client.closed;
    expect(await server.app.metrics.render()).to.match(/^tsudoi_websocket_dropped_total\{reason="protocolError"\} 1$/m);
  });

  it('carries the address and user agent to where devices were last seen', async () => {
    const headers = { 'User-Agent': 'test/1', 'X-Forwarded-For': '192.0.2.7' };
    const client = await server.connect(alice, {}, { headers });
    await client.end();
    const { devices } = await server.app.must('admin-root', 'GET', `/admin/whois/${alice.userId}`);
    const seen = Object.values<Frame>(devices).flatMap(({ sessions }) => sessions[0].connections);
    expect(seen.map(({ ip, user_agent: agent }) => [ip, agent])).to.deep.include(['192.0.2.7', 'test/1']);
  });
});

/** The value of a metric without labels. */
const metric = async (server: StreamServer, name: string): Promise<number> =>
  Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(await server.app.metrics.render())?.[1] ?? 0);
