import { connect } from 'node:net';
import { expect } from 'chai';
import { OPERATOR } from '#src/services/audit/actor.ts';
import { loadConfig } from '#src/app/config/load.ts';
import { type Answer, InProcessServer } from '#test/support/in-process-server.ts';

/** The limits as shipped, all of them. */
const SHIPPED = loadConfig([], {}).rateLimits.buckets;
const WEB = { Origin: 'https://app.element.io' };

/** The status of a request, and the one of a request that is not refused. */
interface Outcome {
  readonly what: string;
  readonly expected: number;
  readonly status: number;
}

describe('the limits as shipped', function () {
  this.timeout(120_000);
  let server: InProcessServer;
  beforeEach(async () => {
    server = await InProcessServer.start({ rateLimits: SHIPPED });
  });
  afterEach(() => server.stop());

  const client = '/_matrix/client/v3';
  const request = async (method: string, path: string, token?: string): Promise<number> => {
    const authorization = token === undefined ? {} : { Authorization: `Bearer ${token}` };
    const response = await fetch(server.url + path, { method, headers: { ...WEB, ...authorization } });
    await response.arrayBuffer();
    return response.status;
  };
  const outcome = async (expected: number, method: string, path: string, token?: string): Promise<Outcome> => ({
    what: `${method} ${path}`,
    expected,
    status: await request(method, path, token),
  });
  /** What a web client asks for when it starts: before nearly each request a browser asks whether it may. */
  const startOfClient = async (name: string): Promise<Outcome[]> => {
    const { token, userId } = await server.session(name);
    const own = `${client}/user/${encodeURIComponent(userId)}`;
    const paths = [
      `${client}/account/whoami`,
      `${client}/capabilities`,
      `${client}/pushrules/`,
      `${client}/sync?timeout=0`,
      `${client}/voip/turnServer`,
      `${client}/devices`,
      `${client}/profile/${encodeURIComponent(userId)}`,
      `${client}/pushers`,
      `${client}/joined_rooms`,
      `${client}/thirdparty/protocols`,
    ];
    const unknown = [
      ...Array.from({ length: 30 }, (_, index) => `${own}/account_data/im.vector.setting${index}`),
      ...Array.from({ length: 20 }, (_, index) => `${client}/profile/${encodeURIComponent(`@friend${index}:test`)}`),
    ];
    const strangers = ['/_matrix/client/versions', `${client}/login`, '/.well-known/matrix/client'];
    return Promise.all([
      ...strangers.map((path) => outcome(200, 'GET', path)),
      ...[...paths, ...unknown].map((path) => outcome(204, 'OPTIONS', path)),
      ...paths.map((path) => outcome(200, 'GET', path, token)),
      ...unknown.map((path) => outcome(404, 'GET', path, token)),
    ]);
  };
  const others = (outcomes: readonly Outcome[]): Outcome[] =>
    outcomes.filter(({ expected, status }) => status !== expected);

  it('let a web client start, with some hundred and twenty requests at once', async () => {
    expect(others(await startOfClient('alice'))).to.deep.equal([]);
    // And once more, since somebody reloads the page.
    expect(others(await startOfClient('alice'))).to.deep.equal([]);
  });
  it('let an office of forty behind one address start within the same moment', async () => {
    const all: Outcome[] = [];
    for (let index = 0; index < 40; index += 1) all.push(...(await startOfClient(`user${index}`)));
    expect(all.length).to.be.above(4_000);
    expect(others(all)).to.deep.equal([]);
  });
  it('let two hundred behind one address log in within a minute', async () => {
    const outcomes: number[] = [];
    for (let index = 0; index < 200; index += 1) {
      const name = `worker${index}`;
      await server.services.registration.registerByAdmin(
        OPERATOR,
        { username: name, password: 'a good password', admin: false },
        { inhibitLogin: true },
      );
      const body = {
        type: 'm.login.password',
        identifier: { type: 'm.id.user', user: name },
        password: 'a good password',
      };
      const flows = await request('GET', `${client}/login`);
      const answer: Answer = await server.ask(undefined, 'POST', '/login', body);
      outcomes.push(flows, answer.status);
      await server.clock.advance(300);
    }
    expect(outcomes.filter((status) => status !== 200)).to.deep.equal([]);
  });
  it('let a bot say ten things a second for as long as it likes', async () => {
    const room = await server.room('limited-bot');
    const outcomes: number[] = [];
    for (let index = 0; index < 300; index += 1) {
      const sent = await server.ask('limited-bot', 'PUT', `/rooms/${room}/send/m.room.message/bot${index}`, {
        msgtype: 'm.text',
        body: 'tick',
      });
      outcomes.push(sent.status);
      await server.clock.advance(100);
    }
    expect(outcomes.filter((status) => status !== 200)).to.deep.equal([]);
  });
  it('let a thousand clients of a load test connect from one address at once, and ask', async () => {
    const { port } = new URL(server.url);
    const ask = (): Promise<string> =>
      new Promise((resolve) => {
        const socket = connect(Number(port), '127.0.0.1');
        let answer = '';
        socket.on('data', (chunk: Buffer) => (answer += chunk.toString()));
        socket.on('error', (error) => (answer = String(error)));
        socket.on('close', () => resolve(answer.slice(0, 12)));
        socket.write('GET /_matrix/client/versions HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n');
      });
    for (let round = 0; round < 2; round += 1) {
      const answers = await Promise.all(Array.from({ length: 1_000 }, ask));
      expect(answers.filter((answer) => answer !== 'HTTP/1.1 200')).to.deep.equal([]);
    }
  });
});
