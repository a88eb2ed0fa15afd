import assert from 'node:assert/strict';
import { once } from 'node:events';
import { WebSocket } from 'ws';
import { registrationOf, StubAppservice } from '#test/support/stand-ins/application-service.ts';
import { InProcessServer, type Json } from '#test/support/in-process-server.ts';
import { until } from '#test/support/until.ts';

/** A service that keeps a WebSocket open, as bridges behind NAT do. */
class SocketService {
  readonly frames: Json[] = [];
  readonly socket: WebSocket;
  closed: { readonly code: number; readonly reason: string } | undefined;
  /** What it does with a transaction. */
  mood: 'answer' | 'error' | 'silent' = 'answer';

  constructor(url: string, token: string, version: string | undefined = '3') {
    this.socket = new WebSocket(`${url.replace('http', 'ws')}/_matrix/client/unstable/fi.mau.as_sync`, {
      headers: {
        authorization: `Bearer ${token}`,
        ...(version === undefined ? {} : { 'X-Mautrix-Websocket-Version': version }),
      },
    });
    this.socket.on('message', (data: Buffer) => {
      const frame = JSON.parse(data.toString());
      this.frames.push(frame);
      if (frame.command !== 'transaction' || this.mood === 'silent') return;
      const command = this.mood === 'answer' ? 'response' : 'error';
      this.socket.send(JSON.stringify({ command, id: frame.id, data: { txn_id: frame.txn_id } }));
    });
    this.socket.on('close', (code, reason) => {
      this.closed = { code, reason: reason.toString() };
    });
    this.socket.on('error', () => undefined);
  }

  async connected(): Promise<this> {
    await until('the welcome', () => this.frames.find(({ command }) => command === 'connect'));
    return this;
  }

  get transactions(): Json[] {
    return this.frames.filter(({ command }) => command === 'transaction');
  }

  get bodies(): string[] {
    return this.transactions.flatMap(({ events }) => events.flatMap(({ content }: Json) => content.body ?? []));
  }

  async close(): Promise<void> {
    if (this.socket.readyState === WebSocket.CLOSED) return;
    const closed = once(this.socket, 'close');
    this.socket.close();
    await closed;
  }
}

describe('application services: transactions over a WebSocket', () => {
  let server: InProcessServer;
  let stub: StubAppservice;
  let room: string;
  const open: SocketService[] = [];

  before(async () => {
    stub = await StubAppservice.start();
    server = await InProcessServer.start({
      config: { appservices: { socketKeepDays: 1 } },
      appservices: [
        registrationOf('home', { url: null, sender_localpart: 'home-bot', namespaces: { users: [] } }),
        registrationOf('both', { url: stub.url, sender_localpart: 'both-bot', namespaces: { users: [] } }),
      ],
    });
    room = await server.room('alice', { preset: 'public_chat' });
    await server.must('as_token_of_home', 'POST', `/rooms/${room}/join`, {});
    await server.must('as_token_of_both', 'POST', `/rooms/${room}/join`, {});
  });
  after(async () => {
    await server.stop();
    await stub.stop();
  });
  afterEach(async () => {
    for (const service of open.splice(0)) await service.close();
    await server.idle();
  });

  const connect = async (token = 'as_token_of_home', version?: string): Promise<SocketService> => {
    const service = new SocketService(server.url, token, version);
    open.push(service);
    return service.connected();
  };

  it('a service without a URL gets its events over the socket that it opened, with all that others get', async () => {
    const service = await connect();
    const eventId = await server.say('alice', room, 'over the socket');
    await server.idle();
    const [transaction] = service.transactions.filter(({ events }) => events.length > 0).slice(-1);
    assert.equal(transaction.status, 'ok');
    assert.equal(typeof transaction.txn_id, 'string');
    assert.ok(transaction.id > 0);
    assert.equal(transaction.events.at(-1).event_id, eventId);
    assert.equal(transaction.events.at(-1).room_id, room);
    assert.equal(server.services.appserviceTransactions.stateOf('home').waiting, 0);
  });

  it('what comes while the socket is closed waits, and comes over the next one in order', async () => {
    await (await connect()).close();
    await server.idle();
    await server.say('alice', room, 'first');
    await server.idle();
    await server.say('alice', room, 'second');
    await server.idle();
    const service = await connect();
    await server.idle();
    assert.deepEqual(service.bodies.slice(-2), ['first', 'second']);
  });

  it('what was sent and not answered comes again, under the same id, over the next socket', async () => {
    const silent = await connect();
    silent.mood = 'silent';
    await server.say('alice', room, 'unanswered');
    await server.clock.advance(100);
    await until('the transaction', () => silent.bodies.includes('unanswered'));
    await silent.close();
    const service = await connect();
    // It may have been found out only now that the first socket is closed: then it is tried a moment later.
    await server.clock.advance(2_000);
    await server.idle();
    assert.ok(service.bodies.includes('unanswered'));
    assert.equal(service.transactions[0].txn_id, silent.transactions.at(-1).txn_id);
    assert.deepEqual(service.transactions[0].events, silent.transactions.at(-1).events);
  });

  it('the socket of a service that does not answer is closed, and one error is no end', async () => {
    const silent = await connect();
    silent.mood = 'silent';
    await server.say('alice', room, 'wait for it');
    await server.clock.advance(100);
    await until('the transaction', () => silent.bodies.includes('wait for it'));
    await server.clock.advance(91_000);
    const { code, reason } = await until('the close', () => silent.closed);
    assert.equal(code, 4002);
    assert.equal(JSON.parse(reason).status, 'transactions_not_acknowledged');
    const service = await connect();
    service.mood = 'error';
    await server.clock.advance(2_000);
    await until('the transaction', () => service.bodies.includes('wait for it'));
    service.mood = 'answer';
    await server.clock.advance(400_000);
    await server.idle();
    assert.equal(server.services.appserviceTransactions.stateOf('home').waiting, 0);
  });

  it('a second socket takes the place of the first one', async () => {
    const first = await connect();
    const second = await connect();
    const { code } = await until('the close', () => first.closed);
    assert.equal(code, 4001);
    await server.say('alice', room, 'to the second');
    await server.idle();
    assert.ok(second.bodies.includes('to the second'));
    assert.ok(!first.bodies.includes('to the second'));
  });

  it('services of earlier versions of the protocol need not answer', async () => {
    const service = await connect('as_token_of_home', '');
    service.mood = 'silent';
    await server.say('alice', room, 'not answered');
    await server.idle();
    assert.ok(service.bodies.includes('not answered'));
    assert.equal(server.services.appserviceTransactions.stateOf('home').waiting, 0);
  });

  it('a service with a URL is sent everything over its socket as long as it has one, and to its URL otherwise', async () => {
    await server.idle();
    stub.take();
    const service = await connect('as_token_of_both');
    await server.say('alice', room, 'to the socket');
    await server.idle();
    assert.ok(service.bodies.includes('to the socket'));
    assert.deepEqual(stub.take(), []);
    await service.close();
    await server.say('alice', room, 'to the url');
    await server.idle();
    const pushed = stub.take().flatMap(({ body }) => body.events.map(({ content }: Json) => content.body));
    assert.ok(pushed.includes('to the url'));
  });

  it('answers its pings, and refuses unknown commands', async () => {
    const service = await connect();
    service.socket.send(JSON.stringify({ command: 'ping', id: 7, data: { timestamp: 1 } }));
    service.socket.send(JSON.stringify({ command: 'start_sync', id: 8, data: {} }));
    const pong = await until('the answer', () => service.frames.find(({ id }) => id === 7));
    assert.equal(pong.command, 'response');
    assert.equal(pong.data.timestamp, server.clock.now());
    const refused = await until('the refusal', () => service.frames.find(({ id }) => id === 8));
    assert.equal(refused.command, 'error');
  });

  it('what it sends counts as bytes in flight until it is a whole frame, and is bounded in values and in bytes', async () => {
    const used = (): number => server.services.bytesInFlight.used;
    const before = used();
    const service = await connect();
    service.socket.send(JSON.stringify({ command: 'x'.repeat(500_000) }), { fin: false });
    await until('it is counted', () => used() - before >= 500_000);
    service.socket.send('', { fin: true });
    await until('it is looked at, and not kept', () => used() === before);
    const values = await connect();
    values.socket.send(JSON.stringify({ command: 'ping', data: Array.from({ length: 20_000 }, () => []) }));
    await until('it is sent away', () => values.closed?.code === 1007);
    const much = await connect();
    for (let count = 0; count < 17; count += 1) much.socket.send(JSON.stringify({ command: 'x'.repeat(1_000_000) }));
    await until('it is cut', () => much.closed !== undefined);
    await until('nothing is kept', () => used() === before);
  });

  it('nobody else opens one', async () => {
    for (const token of ['nonsense', (await server.session('alice')).token]) {
      const socket = new WebSocket(`${server.url.replace('http', 'ws')}/_matrix/client/unstable/fi.mau.as_sync`, {
        headers: { authorization: `Bearer ${token}` },
      });
      const [, response] = (await once(socket, 'unexpected-response')) as [unknown, { statusCode: number }];
      assert.equal(response.statusCode, 401);
      socket.on('error', () => undefined);
      socket.terminate();
    }
  });

  it('what comes for a service that opened no socket for long is dropped', async () => {
    await (await connect()).close();
    await server.idle();
    await server.clock.advance(25 * 3_600_000);
    await server.say('alice', room, 'too late');
    await server.idle();
    assert.equal(server.services.appserviceTransactions.stateOf('home').waiting, 0);
  });

  it('it is told when the server ends, and its mail waits for the next one', async () => {
    const service = await connect();
    await server.idle();
    await server.restart();
    const { code } = await until('the close', () => service.closed);
    assert.equal(code, 1012);
    await server.say('alice', room, 'after the restart');
    await server.idle();
    const again = await connect();
    await server.idle();
    assert.ok(again.bodies.includes('after the restart'));
  });
});
