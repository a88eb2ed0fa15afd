import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { expect } from 'chai';
import { DEFAULT_WEBSOCKET_LIMITS } from '#src/ws/dependencies.ts';
import { WEBSOCKET_PATH } from '#src/ws/web-socket-api.ts';
import { until } from '#test/support/until.ts';
import type { InProcessServerOptions } from '#test/support/in-process-server.ts';
import { StreamServer } from './stream-server.ts';

const KiB = 1024;
const FIN = 0x80;

/** A frame of a client, masked with zeros: what it holds is sent as it stands. */
const frame = (opcode: number, payload: Buffer | string, length = payload.length): Buffer => {
  const size =
    length < 126
      ? Buffer.from([0x80 | length])
      : length < 65_536
        ? Buffer.from([0x80 | 126, length >> 8, length & 0xff])
        : Buffer.from([0x80 | 127, 0, 0, 0, 0, 0, length >> 16, (length >> 8) & 0xff, length & 0xff]);
  return Buffer.concat([Buffer.from([opcode]), size, Buffer.alloc(4), Buffer.from(payload)]);
};

describe('WebSocket API: floods', function () {
  this.timeout(60_000);
  let server: StreamServer;
  const sockets: Socket[] = [];
  const start = async (options: InProcessServerOptions = {}, share = 16 * KiB * KiB): Promise<void> => {
    const bytesInFlight = { total: 64 * KiB * KiB, perUser: share, perAddress: share, perConnection: share };
    server = await StreamServer.start({ config: { bytesInFlight }, ...options });
  };
  const used = (): number => server.app.services.bytesInFlight.used;
  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy();
    await until('everything is given back', () => used() === 0);
    await server.stop();
  });

  /** A socket past its handshake, on which frames are written by hand. */
  const open = async (token?: string): Promise<Socket> => {
    const socket = connect(Number(new URL(server.app.url).port), '127.0.0.1').on('error', () => {});
    sockets.push(socket);
    const authorization = token === undefined ? '' : `Authorization: Bearer ${token}\r\n`;
    socket.write(
      `GET ${WEBSOCKET_PATH} HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
        `Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n${authorization}\r\n`,
    );
    const [head] = (await once(socket, 'data')) as [Buffer];
    expect(head.toString()).to.match(/^HTTP\/1\.1 101/);
    socket.resume();
    return socket;
  };
  const closing = async (socket: Socket): Promise<void> => {
    if (!socket.closed) await new Promise<void>((resolve) => void socket.once('close', () => resolve()));
  };

  it('of methods that do not exist close the socket, and cost tokens of what is refused', async () => {
    await start({ rateLimits: { refused: { perSecond: 1, burst: 5 } } });
    const client = await server.connect(await server.register());
    for (let id = 1; id <= 40; id += 1) client.send({ id, method: 'nothing' });
    expect(await client.closed).to.deep.equal({ code: 4005, reason: 'M_LIMIT_EXCEEDED' });
    const errors = client.frames.filter(({ error }) => error !== undefined);
    expect(errors.map(({ error }) => error.errcode)).to.deep.equal([
      ...Array.from({ length: 5 }, () => 'M_UNRECOGNIZED'),
      'M_LIMIT_EXCEEDED',
    ]);
  });
  it('of requests that are malformed close the socket', async () => {
    await start();
    const client = await server.connect(await server.register());
    const { maxRefusals } = DEFAULT_WEBSOCKET_LIMITS;
    for (let id = 1; id <= maxRefusals + 35; id += 1) client.send({ id, method: 'typing', params: { room_id: 1 } });
    expect((await client.closed).code).to.equal(4005);
    expect(client.frames.filter(({ error }) => error?.errcode === 'M_MISSING_PARAM').length).to.be.within(
      1,
      maxRefusals + 1,
    );
  });
  it('of pings and pongs cut the socket', async () => {
    await start();
    const account = await server.register();
    for (const opcode of [0x9, 0xa]) {
      const socket = await open(account.token);
      const sent = Buffer.concat(Array.from({ length: 20 }, () => frame(FIN | opcode, 'x')));
      for (let count = 0; count < 5; count += 1) {
        socket.write(sent);
        await server.pass(1);
      }
      expect(socket.closed).to.equal(false);
      socket.write(frame(FIN | opcode, 'x'));
      await closing(socket);
    }
  });
  it('of fragments of one byte close the socket long before a frame is full', async () => {
    await start();
    const socket = await open();
    socket.write(frame(0x1, '{'));
    socket.write(Buffer.concat(Array.from({ length: 200 }, () => frame(0x0, 'x'))));
    await closing(socket);
    await until('nothing of it is left', () => server.api.size === 0);
  });
  it('of small frames that are read at once are looked at one in each turn of the event loop', async () => {
    await start();
    const socket = await open((await server.register()).token);
    const { admission } = server.api;
    const turn = admission.turn.bind(admission);
    const FRAMES = 50;
    let loops = 0;
    const lookedAt: number[] = [];
    admission.turn = (key) => {
      lookedAt.push(loops);
      return turn(key);
    };
    const request = (id: number): Buffer =>
      frame(FIN | 0x1, JSON.stringify({ id, method: 'presence', params: { presence: 'online' } }));
    socket.write(Buffer.concat(Array.from({ length: FRAMES }, (_, id) => request(id))));
    while (lookedAt.length < FRAMES) {
      await new Promise((resolve) => setImmediate(resolve));
      loops += 1;
    }
    expect(new Set(lookedAt).size).to.equal(FRAMES);
  });
  it('of large frames are looked at in turn and in order, and nothing more is read meanwhile', async () => {
    await start();
    const account = await server.register();
    const client = await server.connect(account);
    const { admission } = server.api;
    const turn = admission.turn.bind(admission);
    const waiting: (() => void)[] = [];
    admission.turn = () => new Promise((resolve) => waiting.push(resolve));
    const large = { presence: 'online', status_msg: 'x'.repeat(40 * KiB) };
    client.send({ id: 1, method: 'presence', params: large });
    client.send({ id: 2, method: 'nothing' });
    await until('the first one waits', () => waiting.length === 1);
    admission.turn = turn;
    waiting[0]?.();
    expect(await client.response(2)).to.have.property('error');
    expect(await client.response(1)).to.have.property('error');
    expect(waiting).to.have.length(1);
  });
  it('of bytes from a stranger are cut at a few kilobytes, whole frame or not', async () => {
    await start();
    const whole = await open();
    whole.write(frame(FIN | 0x1, JSON.stringify({ method: 'auth', params: { token: 'x'.repeat(17 * KiB) } })));
    await closing(whole);
    const part = await open();
    part.write(frame(0x1, 'x'.repeat(60 * KiB)));
    for (let count = 0; count < 4; count += 1) part.write(frame(0x0, 'x'.repeat(60 * KiB)));
    await closing(part);
  });
  it('of frames that are not whole count as bytes in flight, and cut the socket where there is no room', async () => {
    await start({}, 100 * KiB);
    const account = await server.register();
    const first = await open(account.token);
    first.write(frame(FIN | 0x1, 'x'.repeat(80 * KiB), 100 * KiB));
    await until('it is counted', () => used() >= 80 * KiB);
    const second = await open(account.token);
    second.write(frame(FIN | 0x1, 'x'.repeat(60 * KiB), 100 * KiB));
    await closing(second);
    expect(first.closed).to.equal(false);
    expect(used()).to.be.within(80 * KiB, 100 * KiB);
  });
  it('of frames that wait for their turn, or are worked on, count as bytes in flight with what they became', async () => {
    const waiting: (() => void)[] = [];
    const messages = (): Promise<never> => new Promise((_, reject) => waiting.push(() => reject(new Error('over'))));
    await start({ adjust: ({ history }) => void (history.messages = messages) });
    const account = await server.register();
    const socket = await open(account.token);
    const x = Array.from({ length: 8_000 }, () => []);
    const request = JSON.stringify({ id: 1, method: 'messages', params: { room_id: '!r', dir: 'b', x } });
    const weight = request.length + 8_000 * 48;
    const values = JSON.stringify({ id: 2, method: 'nothing', params: Array.from({ length: 8_000 }, () => []) });
    socket.write(frame(FIN | 0x1, request));
    await until('it is worked on', () => waiting.length === 1);
    expect(used()).to.be.at.least(weight);
    const { admission } = server.api;
    const turns: (() => void)[] = [];
    const turn = admission.turn.bind(admission);
    admission.turn = () => new Promise((resolve) => turns.push(resolve));
    socket.write(frame(FIN | 0x1, values));
    await until('another waits', () => turns.length === 1);
    await until('it is counted', () => used() >= weight + values.length);
    admission.turn = turn;
    turns[0]?.();
    await once(socket, 'data');
    expect(used()).to.be.at.least(weight);
    socket.destroy();
    await until('the socket is gone', () => server.api.size === 0);
    expect(used()).to.be.at.least(weight);
    waiting[0]?.();
    await until('nothing is left', () => used() === 0);
  });
  it('of frames for a peer who does not read count as bytes in flight, the first one too', async () => {
    const chunk = [JSON.stringify({ body: 'x'.repeat(20 * KiB * KiB) })];
    const messages = async (): Promise<{ start: string; end: undefined; chunk: string[]; state: undefined }> => ({
      start: 's',
      end: undefined,
      chunk,
      state: undefined,
    });
    await start({ adjust: ({ history }) => void (history.messages = messages) }, 30 * KiB * KiB);
    const account = await server.register();
    const request = frame(
      FIN | 0x1,
      JSON.stringify({ id: 1, method: 'messages', params: { room_id: '!r', dir: 'b' } }),
    );
    const [first, second] = [await open(account.token), await open(account.token)];
    first.pause();
    first.write(request);
    await until('it waits', () => used() > 10 * KiB * KiB);
    second.pause();
    second.write(request);
    await until('the second is cut', () => server.api.size === 1);
    second.resume();
    await closing(second);
    first.resume();
    await until('the first was read', () => used() === 0);
    expect(first.closed).to.equal(false);
  });
});
