import type { Socket } from 'node:net';
import { expect } from 'chai';
import { DEFAULT_WEBSOCKET_LIMITS } from '#src/ws/dependencies.ts';
import { CLOSE_REASONS } from '#src/ws/close-codes.ts';
import { isAllowed } from '#src/services/accounts/admission/access-rules.ts';
import { METHODS } from '#src/ws/methods.ts';
import { type Account, StreamServer } from './stream-server.ts';

describe('WebSocket API: requests', () => {
  let server: StreamServer;
  let alice: Account;
  let bob: Account;

  before(async function () {
    this.timeout(60_000);
    server = await StreamServer.start();
    alice = await server.register('alice');
    bob = await server.register('bob');
  });
  after(() => server.stop());

  const text = (body: string): object => ({ msgtype: 'm.text', body });

  it('carries a conversation: join, send, state, redact, typing, receipts, read markers, invite, leave', async () => {
    const roomId = await server.room(alice);
    const [a, b] = [await server.connect(alice), await server.connect(bob)];
    expect(await b.must('join', { room_id_or_alias: roomId })).to.deep.equal({ room_id: roomId });
    const { event_id: said } = await a.must('send', {
      room_id: roomId,
      event_type: 'm.room.message',
      txn_id: 'hello',
      content: text('こんにちは'),
    });
    expect(await b.message(roomId, 'こんにちは')).to.include({ event_id: said, sender: alice.userId });
    expect((await a.message(roomId, 'こんにちは')).unsigned.transaction_id).to.equal('hello');
    await a.must('state', { room_id: roomId, event_type: 'm.room.topic', content: { topic: 'Tea' } });
    expect((await server.must(bob, 'GET', `/rooms/${roomId}/state/m.room.topic`)).topic).to.equal('Tea');
    await b.must('typing', { room_id: roomId, typing: false });
    await b.must('receipt', { room_id: roomId, receipt_type: 'm.read', event_id: said });
    await b.must('read_markers', { room_id: roomId, 'm.fully_read': said, 'm.read.private': said });
    const marker = `/user/${encodeURIComponent(bob.userId)}/rooms/${roomId}/account_data/m.fully_read`;
    expect((await server.must(bob, 'GET', marker)).event_id).to.equal(said);
    const redacted = await a.must('redact', { room_id: roomId, event_id: said, txn_id: 'undo', reason: 'oops' });
    expect(redacted).to.have.property('event_id');
    expect((await server.must(bob, 'GET', `/rooms/${roomId}/event/${said}`)).content).to.deep.equal({});
    expect(await b.must('leave', { room_id: roomId, reason: 'bye' })).to.deep.equal({});
    expect(await a.must('invite', { room_id: roomId, user_id: bob.userId })).to.deep.equal({});
    await b.until(() => b.syncs.find((frame) => frame.rooms?.invite?.[roomId] !== undefined));
    await Promise.all([a.end(), b.end()]);
  });

  it('answers messages as HTTP does', async () => {
    const roomId = await server.room(alice);
    for (const body of ['one', 'two', 'three']) await server.say(alice, roomId, body);
    const client = await server.connect(alice);
    const page = await client.must('messages', {
      room_id: roomId,
      dir: 'b',
      limit: 2,
      filter: { types: ['m.room.message'] },
    });
    const filter = encodeURIComponent(JSON.stringify({ types: ['m.room.message'] }));
    expect(page).to.deep.equal(
      await server.must(alice, 'GET', `/rooms/${roomId}/messages?dir=b&limit=2&filter=${filter}`),
    );
    const rest = await client.must('messages', {
      room_id: roomId,
      dir: 'b',
      from: page.end,
      filter: { types: ['m.room.message'] },
    });
    expect(rest.chunk.map((event: { content: { body: string } }) => event.content.body)).to.deep.equal(['one']);
    const nothing = await client.must('messages', {
      room_id: roomId,
      dir: 'b',
      from: rest.end,
      filter: { types: ['m.room.message'] },
    });
    expect(nothing.chunk).to.deep.equal([]);
    expect(nothing).not.to.have.property('end');
    await client.end();
  });

  it('makes no second event when a send is retried, here or over HTTP', async () => {
    const roomId = await server.room(alice);
    const client = await server.connect(alice);
    const params = { room_id: roomId, event_type: 'm.room.message', txn_id: 'once', content: text('once') };
    const first = await client.must('send', params);
    const path = `/rooms/${roomId}/send/m.room.message/once`;
    expect((await server.must(alice, 'PUT', path, text('once'))).event_id).to.equal(first.event_id);
    expect(await client.must('send', params)).to.deep.equal(first);
    for (const content of [{ n: 1.5 }, 'no object', undefined, { msgtype: 5 }])
      expect(await client.must('send', { ...params, content }), 'whatever it holds now').to.deep.equal(first);
    const redaction = { room_id: roomId, event_id: first.event_id, txn_id: 'undo' };
    const undone = await client.must('redact', redaction);
    const redactPath = `/rooms/${roomId}/redact/${first.event_id}/undo`;
    expect((await server.must(alice, 'PUT', redactPath, {})).event_id).to.equal(undone.event_id);
    expect(await client.must('redact', { ...redaction, reason: 5 })).to.deep.equal(undone);
    await client.end();
  });

  it('answers mistakes with the errcodes of HTTP, and stays open', async () => {
    const roomId = await server.room(alice);
    const own = await server.room(bob);
    const client = await server.connect(bob);
    const send = { room_id: roomId, event_type: 'm.room.message', txn_id: 't' };
    for (const [method, params, errcode] of [
      ['dance', {}, 'M_UNRECOGNIZED'],
      ['send', { room_id: roomId }, 'M_MISSING_PARAM'],
      ['send', [], 'M_BAD_JSON'],
      ['send', { ...send, content: 'text' }, 'M_BAD_JSON'],
      ['send', { ...send, content: { n: 1.5 } }, 'M_BAD_JSON'],
      ['send', { ...send, room_id: own, content: { msgtype: 'm.text' } }, 'M_BAD_JSON'],
      ['state', { room_id: own, event_type: 'm.room.server_acl', content: { allow: [] } }, 'M_BAD_JSON'],
      ['state', { room_id: own, event_type: 'm.room.power_levels', content: { ban: '50' } }, 'M_BAD_JSON'],
      ['send', { ...send, content: { n: 2 ** 60 } }, 'M_BAD_JSON'],
      ['send', { ...send, content: text('I am not in there') }, 'M_FORBIDDEN'],
      ['send', { ...send, room_id: '!nowhere:test', content: {} }, 'M_FORBIDDEN'],
      ['typing', { room_id: roomId, typing: 'yes' }, 'M_BAD_JSON'],
      ['typing', { room_id: roomId, typing: true }, 'M_FORBIDDEN'],
      ['receipt', { room_id: roomId, receipt_type: 'm.unread', event_id: '$x' }, 'M_INVALID_PARAM'],
      ['presence', { presence: 'sleeping' }, 'M_BAD_JSON'],
      ['join', { room_id_or_alias: '#nothing:test' }, 'M_NOT_FOUND'],
      ['messages', { room_id: roomId, dir: 'sideways' }, 'M_BAD_JSON'],
      ['messages', { room_id: own, dir: 'b', filter: { types: 5 } }, 'M_BAD_JSON'],
      ['messages', { room_id: roomId, dir: 'b', filter: { types: 5 } }, 'M_FORBIDDEN'],
      ['set_filter', { filter: { room: { rooms: ['no room id'] } } }, 'M_INVALID_PARAM'],
    ] as const) {
      const { error } = await client.request(method, params);
      expect(error?.errcode, `${method} ${JSON.stringify(params)}`).to.equal(errcode);
      expect(error.error).to.be.a('string');
    }
    client.send({ id: 'none' });
    expect((await client.response('none')).error.errcode).to.equal('M_MISSING_PARAM');
    client.send({ id: 'five', method: 5 });
    expect((await client.response('five')).error.errcode).to.equal('M_BAD_JSON');
    expect(await client.must('ping')).to.deep.equal({});
    await client.end();
  });

  it('refuses numbers in events that are written as floats, as HTTP does', async () => {
    const roomId = await server.room(alice);
    const client = await server.connect(alice);
    const frame = (content: string): string =>
      `{"id":"f","method":"send","params":{"room_id":${JSON.stringify(roomId)},"event_type":"m.x","txn_id":"f","content":${content}}}`;
    client.send(frame('{"n":1.0}'));
    expect((await client.response('f')).error.errcode).to.equal('M_BAD_JSON');
    client.send(frame('{"n":1,"s":": 1.0"}').replaceAll('"f"', '"g"'));
    expect((await client.response('g')).result).to.have.property('event_id');
    await client.end();
  });

  it('refuses events over 64 KiB with M_TOO_LARGE', async () => {
    const roomId = await server.room(alice);
    const client = await server.connect(alice);
    const params = { room_id: roomId, event_type: 'm.x', txn_id: 'big', content: text('x'.repeat(70_000)) };
    expect((await client.request('send', params)).error.errcode).to.equal('M_TOO_LARGE');
    await client.end();
  });

  it('takes numbers and strings as ids, and gives them back as they were', async () => {
    const client = await server.connect(alice);
    for (const id of [0, 7, '7', '']) {
      client.send({ id, method: 'ping' });
      expect(await client.response(id)).to.deep.equal({ id, result: {} });
    }
    await client.end();
  });

  it('closes with a code that says why whoever does not speak the protocol', async () => {
    const deep = `{"id":1,"method":"ping","params":${'{"a":'.repeat(300)}1${'}'.repeat(300)}}`;
    for (const [frame, code] of [
      ['hello', CLOSE_REASONS.protocolError.code],
      ['[]', CLOSE_REASONS.protocolError.code],
      ['{"method":"ping"}', CLOSE_REASONS.protocolError.code],
      ['{"id":1.5,"method":"ping"}', CLOSE_REASONS.protocolError.code],
      [`{"id":"${'x'.repeat(256)}","method":"ping"}`, CLOSE_REASONS.protocolError.code],
      [deep, CLOSE_REASONS.protocolError.code],
      [JSON.stringify({ id: 1, method: 'ping', params: { much: 'x'.repeat(140_000) } }), CLOSE_REASONS.tooLarge.code],
    ] as const) {
      const client = await server.connect(alice);
      client.send(frame);
      expect((await client.closed).code, frame.slice(0, 40)).to.equal(code);
    }
    const binary = await server.connect(alice);
    binary.socket.send(Buffer.from('{"id":1,"method":"ping"}'), { binary: true });
    expect((await binary.closed).code).to.equal(CLOSE_REASONS.binary.code);
    const garbled = await server.connect(alice);
    garbled.socket.send(Buffer.from([0x7b, 0xff, 0x7d]), { binary: false });
    expect((await garbled.closed).code).to.equal(CLOSE_REASONS.notUtf8.code);
  });

  it('lets guests do what guests may', async () => {
    const guest = await server.must(undefined, 'POST', '/register?kind=guest', {});
    const client = await server.connect({
      userId: guest.user_id,
      deviceId: guest.device_id,
      token: guest.access_token,
    });
    const closed = [...METHODS.values()].filter(({ guests }) => !isAllowed(guests));
    expect(closed.length).to.be.greaterThan(4);
    for (const { name, example } of closed) {
      const { error } = await client.request(name, example);
      expect(error?.errcode, name).to.equal('M_GUEST_ACCESS_FORBIDDEN');
    }
    // What the state does is no other way around it.
    const roomId = await server.room(alice);
    const access = { guest_access: 'can_join' };
    await server.must(alice, 'PUT', `/rooms/${roomId}/state/m.room.guest_access/`, access);
    await client.must('join', { room_id_or_alias: roomId });
    for (const [userId, membership] of [
      [bob.userId, 'invite'],
      [guest.user_id, 'knock'],
    ]) {
      const member = { event_type: 'm.room.member', state_key: userId, content: { membership } };
      const { error } = await client.request('state', { room_id: roomId, ...member });
      expect(error?.errcode, membership).to.equal('M_GUEST_ACCESS_FORBIDDEN');
    }
    expect(await client.must('ping')).to.deep.equal({});
    await client.end();
  });
});

describe('WebSocket API: limits', () => {
  let server: StreamServer;
  afterEach(() => server.stop());

  it('runs requests at once, but no more than 16 of one socket', async function () {
    this.timeout(60_000);
    const { promise: gate, resolve: open } = Promise.withResolvers<void>();
    let running = 0;
    const set = async (): Promise<void> => {
      running += 1;
      await gate;
    };
    server = await StreamServer.start({ adjust: ({ typing }) => void (typing.set = set) });
    const client = await server.connect(await server.register());
    for (let id = 1; id <= 17; id += 1) client.send({ id, method: 'typing', params: { room_id: '!r', typing: true } });
    const { error } = await client.response(17);
    expect(error).to.include({ errcode: 'M_LIMIT_EXCEEDED', 'org.tsudoi.limiter': 'in_flight' });
    expect(error.retry_after_ms).to.be.a('number');
    expect(running).to.equal(16);
    open();
    for (let id = 1; id <= 16; id += 1) expect((await client.response(id)).result).to.deep.equal({});
    expect(await client.must('typing', { room_id: '!r', typing: true })).to.deep.equal({});
    await client.end();
  });

  it('takes out of the same buckets as HTTP, and closes with 4005 whoever does not wait', async function () {
    this.timeout(60_000);
    server = await StreamServer.start({ rateLimits: { message: { perSecond: 0.1, burst: 2 } } });
    const alice = await server.register('alice');
    const roomId = await server.room(alice);
    const client = await server.connect(alice);
    await server.say(alice, roomId, 'over HTTP');
    const params = {
      room_id: roomId,
      event_type: 'm.room.message',
      txn_id: 'ws',
      content: { msgtype: 'm.text', body: 'over a socket' },
    };
    await client.must('send', params);
    const { error } = await client.request('send', params);
    expect(error).to.include({ errcode: 'M_LIMIT_EXCEEDED', 'org.tsudoi.limiter': 'message', retry_after_ms: 10_000 });
    const overHttp = await server.ask(alice, 'PUT', `/rooms/${roomId}/send/m.room.message/http`, {
      msgtype: 'm.text',
      body: 'x',
    });
    expect(overHttp.status).to.equal(429);
    await server.pass(10_000);
    await client.must('send', { ...params, txn_id: 'later' });
    for (let count = 0; count <= DEFAULT_WEBSOCKET_LIMITS.maxRefusals; count += 1)
      client.send({ id: `f${count}`, method: 'send', params });
    expect(await client.closed).to.deep.equal({ code: 4005, reason: 'M_LIMIT_EXCEEDED' });
  });

  it('answers M_UNKNOWN without detail when something breaks, logs it once, and stays open', async function () {
    this.timeout(60_000);
    const set = async (): Promise<void> => {
      throw new TypeError('the inner workings');
    };
    server = await StreamServer.start({ adjust: ({ typing }) => void (typing.set = set) });
    const client = await server.connect(await server.register());
    const { error } = await client.request('typing', { room_id: '!r', typing: true });
    expect(error.errcode).to.equal('M_UNKNOWN');
    expect(JSON.stringify(error)).not.to.include('inner workings');
    expect(server.app.lines.filter(({ level }) => level === 'error')).to.have.length(1);
    expect(await client.must('ping')).to.deep.equal({});
    await client.end();
  });

  it('stops reading requests of whoever does not read the answers', async function () {
    this.timeout(60_000);
    const chunk = [JSON.stringify({ body: 'x'.repeat(1_000_000) })];
    let served = 0;
    const messages = async (): Promise<{ start: string; end: undefined; chunk: string[]; state: undefined }> => {
      served += 1;
      return { start: 's', end: undefined, chunk, state: undefined };
    };
    server = await StreamServer.start({ adjust: ({ history }) => void (history.messages = messages) });
    const [client, other] = [
      await server.connect(await server.register()),
      await server.connect(await server.register()),
    ];
    await client.sync();
    const socket = (client.socket as unknown as { _socket: Socket })._socket;
    socket.pause();
    const asked = 60;
    for (let id = 1; id <= asked; id += 1) {
      client.send({ id, method: 'messages', params: { room_id: '!r', dir: 'b' } });
      await other.must('ping');
    }
    // Were the others read, they would be served by the time somebody else has been several times.
    for (let times = 0; times < 20; times += 1) await other.must('ping');
    expect(served).to.be.below(asked / 2);
    socket.resume();
    // Those that came in one go may be more than may run at once: all are answered, and who is not refused was served.
    const answers = [];
    for (let id = 1; id <= asked; id += 1) answers.push(await client.response(id));
    const refused = answers.filter(({ error }) => error !== undefined);
    expect(refused.map(({ error }) => error['org.tsudoi.limiter'])).to.deep.equal(refused.map(() => 'in_flight'));
    expect(served).to.equal(asked - refused.length);
    await Promise.all([client.end(), other.end()]);
  });
});
