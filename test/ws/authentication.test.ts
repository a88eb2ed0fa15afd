import { OPERATOR } from '#src/services/audit/actor.ts';
import { expect } from 'chai';
import { Refused } from './stream-client.ts';
import { type Account, StreamServer } from './stream-server.ts';

describe('WebSocket API: authentication', () => {
  let server: StreamServer;
  let alice: Account;

  before(async function () {
    this.timeout(60_000);
    server = await StreamServer.start();
    alice = await server.register('alice');
  });
  after(() => server.stop());

  const refusal = async (work: Promise<unknown>): Promise<Refused> => {
    const error = await work.then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    if (error instanceof Refused) return error;
    throw new Error('the handshake was not refused', { cause: error });
  };

  it('takes the token in the first frame, says who that is and begins to push', async () => {
    const client = await server.open();
    client.send({ id: 1, method: 'auth', params: { token: alice.token } });
    const { result } = await client.response(1);
    expect(result).to.deep.equal({ user_id: alice.userId, device_id: alice.deviceId, heartbeat_ms: 30_000 });
    expect(await client.sync()).to.have.property('next_batch');
    expect(client.frames[0]).to.have.property('id', 1);
    await client.end();
  });

  it('needs no id for auth: the first sync frame is the answer', async () => {
    const client = await server.open();
    client.send({ method: 'auth', params: { token: alice.token } });
    await client.sync();
    expect(client.frames).to.have.length(1);
    await client.end();
  });

  it('takes the token in the Authorization header, and since and filter in the query', async () => {
    const roomId = await server.room(alice);
    const first = await server.open({ token: alice.token });
    await first.sync();
    await first.end();
    await server.say(alice, roomId, 'meanwhile');
    const filter = encodeURIComponent(JSON.stringify({ room: { timeline: { not_types: ['m.room.member'] } } }));
    const query = `since=${encodeURIComponent(first.nextBatch)}&filter=${filter}`;
    const second = await server.open({ token: alice.token, query });
    await second.sync();
    expect(second.bodies(roomId)).to.deep.equal(['meanwhile']);
    await second.end();
  });

  it('answers the handshake 401 M_UNKNOWN_TOKEN when the header holds a bad token', async () => {
    const { status, body } = await refusal(server.open({ token: 'nobody' }));
    expect(status).to.equal(401);
    expect(body.errcode).to.equal('M_UNKNOWN_TOKEN');
  });

  it('answers the handshake 400 M_INVALID_PARAM for a since that is none, or another subprotocol', async () => {
    const bad = await refusal(server.open({ token: alice.token, query: 'since=yesterday' }));
    expect([bad.status, bad.body.errcode]).to.deep.equal([400, 'M_INVALID_PARAM']);
    const other = await refusal(server.open({ protocols: ['m.cbor'] }));
    expect([other.status, other.body.errcode]).to.deep.equal([400, 'M_INVALID_PARAM']);
  });

  it('chooses m.json among the subprotocols that are offered', async () => {
    const client = await server.open({ protocols: ['m.cbor', 'm.json'] });
    expect(client.socket.protocol).to.equal('m.json');
    await client.end();
  });

  it('tells what is wrong with the first frame, and closes with 4001', async () => {
    for (const [params, errcode] of [
      [{ token: 'nobody' }, 'M_UNKNOWN_TOKEN'],
      [{}, 'M_MISSING_PARAM'],
      [{ token: 5 }, 'M_BAD_JSON'],
      [{ token: alice.token, since: 'yesterday' }, 'M_INVALID_PARAM'],
      [{ token: alice.token, filter: { room: 5 } }, 'M_BAD_JSON'],
      [{ token: alice.token, filter: '999' }, 'M_NOT_FOUND'],
    ] as const) {
      const client = await server.open();
      client.send({ id: 'a', method: 'auth', params });
      expect((await client.response('a')).error.errcode).to.equal(errcode);
      expect((await client.closed).code).to.equal(4001);
    }
  });

  it('closes with 4001 whoever asks for something before saying who they are', async () => {
    const client = await server.open();
    client.send({ id: 1, method: 'ping' });
    expect((await client.closed).code).to.equal(4001);
    expect(client.frames).to.have.length(0);
  });

  it('closes with 4001 whoever does not say in time who they are', async () => {
    const client = await server.open();
    await server.pass(9_000);
    expect(client.socket.readyState).to.equal(client.socket.OPEN);
    await server.pass(2_000);
    expect((await client.closed).code).to.equal(4001);
  });

  it('holds requests that follow auth at once until it knows who sends them', async () => {
    const client = await server.open();
    client.send({ id: 'auth', method: 'auth', params: { token: alice.token } });
    client.send({ id: 'ping', method: 'ping' });
    expect((await client.response('ping')).result).to.deep.equal({});
    expect(client.frames.findIndex((frame) => frame.id === 'auth')).to.equal(0);
    await client.end();
  });

  it('closes with 4002 at once when the device logs out, and leaves the other devices alone', async () => {
    const bob = await server.register('bob');
    const login = {
      type: 'm.login.password',
      identifier: { type: 'm.id.user', user: 'bob' },
      password: 'correct horse battery',
    };
    const { access_token: token, device_id: deviceId } = await server.must(undefined, 'POST', '/login', login);
    const first = await server.connect(bob);
    const second = await server.connect({ ...bob, token, deviceId });
    await server.must(bob, 'POST', '/logout');
    expect(await first.closed).to.deep.equal({ code: 4002, reason: 'M_UNKNOWN_TOKEN' });
    expect(await second.must('ping')).to.deep.equal({});
    await second.end();
  });

  it('closes with 4004 when the account is locked, and refuses it with 4004 from then on', async () => {
    const carol = await server.register('carol');
    const client = await server.connect(carol);
    await server.app.services.userAdministration.lock(OPERATOR, carol.userId, true);
    expect(await client.closed).to.deep.equal({ code: 4004, reason: 'M_USER_LOCKED' });
    const again = await server.open();
    again.send({ id: 1, method: 'auth', params: { token: carol.token } });
    expect((await again.response(1)).error.errcode).to.equal('M_USER_LOCKED');
    expect((await again.closed).code).to.equal(4004);
  });

  it('closes with 4003 when the token expires, unless a fresh one was sent before', async () => {
    const dora = await server.register('dora', { refresh_token: true });
    const lazy = await server.connect(dora);
    const careful = await server.connect(dora);
    await server.pass(60_000);
    const fresh = await server.must(undefined, 'POST', '/refresh', { refresh_token: dora.refreshToken });
    await server.pass(180_000);
    const renewed = await careful.must('auth', { token: fresh.access_token });
    expect(renewed.user_id).to.equal(dora.userId);
    await server.pass(90_000);
    expect(await lazy.closed).to.deep.equal({ code: 4003, reason: 'M_UNKNOWN_TOKEN soft_logout' });
    expect(await careful.must('ping')).to.deep.equal({});
    await careful.end();
  });

  it('does not let a socket change hands', async () => {
    const client = await server.connect(alice);
    const eve = await server.register('eve');
    expect((await client.request('auth', { token: eve.token })).error.errcode).to.equal('M_FORBIDDEN');
    expect((await client.request('auth', { token: 'nobody' })).error.errcode).to.equal('M_UNKNOWN_TOKEN');
    expect(await client.must('ping')).to.deep.equal({});
    await client.end();
  });

  it('writes no token and no message to the log', async () => {
    const client = await server.connect(alice);
    const roomId = await server.room(alice);
    await client.must('send', {
      room_id: roomId,
      event_type: 'm.room.message',
      txn_id: 'secret',
      content: { msgtype: 'm.text', body: 'a secret word' },
    });
    await client.end();
    const log = JSON.stringify(server.app.lines);
    expect(
      server.app.lines.some(({ message, fields }) => message === 'websocket request' && fields['method'] === 'send'),
    ).to.equal(true);
    expect(log).not.to.include(alice.token);
    expect(log).not.to.include('a secret word');
  });
});
