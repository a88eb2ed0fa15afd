import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { registrationOf } from '#test/support/stand-ins/application-service.ts';
import { BridgeProcess } from '#test/support/bridges/bridge-process.ts';
import { HEISENBRIDGE, INSTALLATION_MS, pythonWithBridges } from '#test/support/bridges/installation.ts';
import { IrcServer } from '#test/support/bridges/irc-server.ts';
import { ChildServer } from '#test/support/child-server.ts';
import { freePort } from '#test/support/free-port.ts';
import { ask } from '#test/support/http.ts';
import type { Json } from '#test/support/in-process-server.ts';
import { pause, until } from '#test/support/until.ts';

const START_MS = 120_000;

describe(`${HEISENBRIDGE}, unchanged`, function () {
  this.timeout(120_000);
  let python = '';
  let folder = '';
  let server: ChildServer | undefined;
  let irc: IrcServer | undefined;
  let bridge: BridgeProcess | undefined;
  let alice = '';
  let lastRoom = '';

  before(async function () {
    this.timeout(INSTALLATION_MS + START_MS);
    const found = pythonWithBridges();
    if ('reason' in found) {
      // Python, its venv and a package index are not everywhere.
      process.stdout.write(`      ${HEISENBRIDGE} cannot be installed: ${found.reason}\n`);
      this.skip();
    }
    python = found.python;
    folder = await mkdtemp(join(tmpdir(), 'tsudoi-bridge-'));
    const registration = registrationOf('heisenbridge', {
      url: `http://127.0.0.1:${await freePort()}`,
      rate_limited: false,
      sender_localpart: 'heisenbridge',
      namespaces: { users: [{ exclusive: true, regex: '@irc_.*' }], aliases: [], rooms: [] },
    });
    await writeFile(join(folder, 'pushed.yaml'), JSON.stringify(registration));
    const atHome = { ...registration, id: 'athome', as_token: 'at_home_as', hs_token: 'at_home_hs', url: null };
    const names = { sender_localpart: 'homebridge', namespaces: { users: [{ exclusive: true, regex: '@home_.*' }] } };
    await writeFile(join(folder, 'athome.yaml'), JSON.stringify({ ...atHome, ...names }));
    server = await ChildServer.start({
      database: 'shared',
      config: JSON.stringify({
        server_name: 'test',
        registration: { enabled: true },
        appservices: { files: [join(folder, '*.yaml')] },
      }),
    });
    irc = await IrcServer.start();
    const { body } = await ask(server.url, 'POST', '/_matrix/client/v3/register', {
      body: { username: 'alice', password: 'a-long-password', auth: { type: 'm.login.dummy' } },
    });
    alice = body.access_token;
    assert.equal(typeof alice, 'string', JSON.stringify(body));
  });
  afterEach(async function () {
    if (this.currentTest?.state === 'failed')
      process.stdout.write(`${(await texts(lastRoom).catch(() => [])).join('\n')}\n`);
    if (this.currentTest?.state === 'failed')
      process.stdout.write(
        `      what it wrote:\n${bridge?.output}\n      and the server:\n${server?.output.slice(-4_000)}\n`,
      );
    await bridge?.kill();
    bridge = undefined;
  });
  after(async () => {
    await irc?.stop();
    await server?.dispose();
    if (folder !== '') await rm(folder, { recursive: true, force: true });
  });

  const must = async (method: string, path: string, body?: unknown): Promise<Json> => {
    const answer = await ask(server?.url ?? '', method, `/_matrix/client${path}`, {
      token: alice,
      ...(body === undefined ? {} : { body }),
    });
    if (answer.status !== 200) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  };
  const say = (room: string, text: string): Promise<Json> =>
    must('PUT', `/v3/rooms/${room}/send/m.room.message/${Math.random()}`, { msgtype: 'm.text', body: text });
  const texts = async (room: string): Promise<string[]> =>
    (await must('GET', `/v3/rooms/${room}/messages?dir=b&limit=50`)).chunk.flatMap(({ content, sender }: Json) =>
      sender === '@alice:test' ? [] : [content.body ?? ''],
    );
  /** Looks a few times in a second: each look is a request. */
  const eventually = <T>(what: string, look: () => Promise<T> | T): Promise<NonNullable<T>> =>
    until(
      what,
      async () => {
        await pause(150);
        return look();
      },
      60_000,
    );
  const answered = (room: string, text: string): Promise<string> =>
    eventually(`"${text}" in ${room}`, async () => (await texts(room)).find((one) => one.includes(text)));
  /** Joins the room that somebody invited alice to, of this name, if it has one. */
  const joinFrom = async (inviter: string, name?: string): Promise<string> => {
    const room = await eventually(`the invite to ${name ?? 'a room'}`, async () => {
      const { rooms } = await must('GET', '/v3/sync?timeout=0');
      const invites = Object.entries(rooms?.invite ?? {}) as [string, Json][];
      return invites.find(([, { invite_state: state }]) => {
        const named = state.events.find(({ type }: Json) => type === 'm.room.name')?.content.name;
        const isFrom = state.events.some(
          ({ sender, state_key: key, type }: Json) =>
            type === 'm.room.member' && key === '@alice:test' && sender === inviter,
        );
        return isFrom && (name === undefined ? named === undefined : named?.includes(name) === true);
      })?.[0];
    });
    await must('POST', `/v3/rooms/${room}/join`, {});
    return room;
  };

  /** Connects alice to the network by talking to the bridge, and talks in a channel. */
  const bridgesAChannel = async (bot: string, channel: string, network: string): Promise<void> => {
    // It opens a room with its owner.
    const control = await joinFrom(bot);
    await say(control, `addnetwork ${network}`);
    await answered(control, 'Network added.');
    await say(control, `addserver ${network} 127.0.0.1 ${irc?.port}`);
    await answered(control, 'Server added.');
    await say(control, `open ${network}`);
    const networkRoom = await joinFrom(bot, network);
    await say(networkRoom, `nick ${network}`);
    await say(networkRoom, 'connect');
    lastRoom = networkRoom;
    await eventually('the connection', () => irc?.nicks.includes(network));
    await say(networkRoom, `join ${channel}`);
    const channelRoom = await joinFrom(bot, channel);
    await eventually('the channel', () => irc?.in(channel).length);
    await say(channelRoom, 'hello from Matrix');
    await eventually('the message on IRC', () =>
      irc?.said.some(([, to, text]) => to === channel && text.includes('hello from Matrix')),
    );
    irc?.say('carol', channel, 'hello from IRC');
    await answered(channelRoom, 'hello from IRC');
    const { chunk } = await must('GET', `/v3/rooms/${channelRoom}/messages?dir=b&limit=50`);
    const message = chunk.find(({ content }: Json) => content.body?.includes('hello from IRC'));
    assert.match(message.sender, /carol:test$/);
  };

  it('bridges a channel of an IRC network both ways, with transactions sent to its URL', async () => {
    bridge = new BridgeProcess(python, [
      ...['-m', 'heisenbridge', '-v', '-c', join(folder, 'pushed.yaml'), '-o', '@alice:test', server?.url ?? ''],
    ]);
    await bridgesAChannel('@heisenbridge:test', '#pushed', 'pushnet');
  });

  it('bridges a channel of an IRC network both ways from behind NAT, with transactions over its WebSocket', async () => {
    bridge = new BridgeProcess(python, [
      ...['-m', 'heisenbridge', '-v', '-c', join(folder, 'athome.yaml'), '-p', String(await freePort())],
      ...['-l', '127.0.0.1', '-o', '@alice:test', (server?.url ?? '').replace('http', 'ws')],
    ]);
    await bridgesAChannel('@homebridge:test', '#athome', 'homenet');
  });
});
