import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { registrationOf } from '#test/support/stand-ins/application-service.ts';
import { BridgeProcess } from '#test/support/bridges/bridge-process.ts';
import {
  INSTALLATION_MS,
  MAUTRIX,
  type PythonWithBridges,
  pythonWithBridges,
} from '#test/support/bridges/installation.ts';
import { ChildServer } from '#test/support/child-server.ts';
import { freePort } from '#test/support/free-port.ts';
import { SdkClient } from '#test/support/sdk-client.ts';
import { until } from '#test/support/until.ts';

const START_MS = 120_000;
const SCRIPT = join(import.meta.dirname, 'echo_bridge.py');
const ENCRYPTION = { type: 'm.room.encryption', state_key: '', content: { algorithm: 'm.megolm.v1.aes-sha2' } };

describe(`an application service made with ${MAUTRIX}`, function () {
  this.timeout(120_000);
  let found: PythonWithBridges;
  let folder = '';
  let server: ChildServer | undefined;
  let bridge: BridgeProcess | undefined;
  let port = 0;
  const clients: SdkClient[] = [];

  before(async function () {
    this.timeout(INSTALLATION_MS + START_MS);
    const installed = pythonWithBridges();
    if ('reason' in installed) {
      // Python, its venv and a package index are not everywhere.
      process.stdout.write(`      ${MAUTRIX} cannot be installed: ${installed.reason}\n`);
      this.skip();
    }
    found = installed;
    folder = await mkdtemp(join(tmpdir(), 'tsudoi-mautrix-'));
    port = await freePort();
    const registration = registrationOf('mau', {
      url: `http://127.0.0.1:${port}`,
      sender_localpart: 'maubot',
      namespaces: { users: [{ exclusive: true, regex: '@_mau_.*' }], aliases: [], rooms: [] },
      rate_limited: false,
      'de.sorunome.msc2409.push_ephemeral': true,
      'org.matrix.msc3202': true,
      'io.element.msc4190': true,
    });
    await writeFile(join(folder, 'mau.yaml'), JSON.stringify(registration));
    server = await ChildServer.start({
      database: 'shared',
      config: JSON.stringify({
        server_name: 'test',
        registration: { enabled: true },
        appservices: { files: [join(folder, 'mau.yaml')] },
      }),
    });
  });
  afterEach(async function () {
    if (this.currentTest?.state === 'failed') process.stdout.write(`      what it wrote:\n${bridge?.output}\n`);
    for (const client of clients.splice(0)) client.stop();
    await bridge?.kill();
    bridge = undefined;
  });
  after(async () => {
    await server?.dispose();
    if (folder !== '') await rm(folder, { recursive: true, force: true });
  });

  const started = async (...more: readonly string[]): Promise<BridgeProcess> => {
    const made = new BridgeProcess(found.python, [
      SCRIPT,
      server?.url ?? '',
      join(folder, 'mau.yaml'),
      String(port),
      ...more,
    ]);
    bridge = made;
    await until(
      () => `the bridge: ${made.output}`,
      () => made.output.includes('ready'),
    );
    assert.match(made.output, /ping took \d+ ms/);
    return made;
  };

  it('hears what is said where its bot is invited, has a ghost say it again, and hears who types and reads', async () => {
    const made = await started();
    const alice = await SdkClient.register(server?.url ?? '', 'alice');
    clients.push(alice);
    await alice.start();
    const { room_id: room } = await alice.client.createRoom({ invite: ['@maubot:test'] });
    await until('the bot in the room', () => made.output.includes(`joined ${room}`));
    const { event_id: said } = await alice.client.sendTextMessage(room, 'hello');
    const echo = await alice.until('the echo', () =>
      alice.client
        .getRoom(room)
        ?.getLiveTimeline()
        .getEvents()
        .find((event) => event.getContent()['body'] === 'echo: hello'),
    );
    assert.equal(echo.getSender(), '@_mau_ghost:test');
    assert.equal(alice.client.getRoom(room)?.getMember('@_mau_ghost:test')?.name, 'Ghost');
    await alice.client.sendTyping(room, true, 10_000);
    await until('who types', () => made.output.includes(`typing in ${room}: ['@alice:test']`));
    const event = alice.client.getRoom(room)?.findEventById(said);
    assert.ok(event);
    await alice.client.sendReadReceipt(event);
    await until('who reads', () => made.output.includes(`receipt in ${room}`));
  });

  it('reads what is encrypted for its bot, by keys that come with its transactions, and answers encrypted', async function () {
    if (!found.encrypts) {
      process.stdout.write('      what mautrix encrypts with cannot be installed\n');
      this.skip();
    }
    const made = await started('--encrypt');
    const carol = await SdkClient.register(server?.url ?? '', 'carol');
    clients.push(carol);
    await carol.client.initRustCrypto({ useIndexedDB: false });
    await carol.start();
    const { room_id: room } = await carol.client.createRoom({ initial_state: [ENCRYPTION], invite: ['@maubot:test'] });
    await until('the bot in the room', () => made.output.includes(`joined ${room}`));
    await carol.until('the bot is seen', () => carol.membership(room, '@maubot:test') === 'join');
    await carol.client.sendTextMessage(room, 'a secret');
    await until('what it reads', () => made.output.includes('decrypted a secret'));
    const answer = await carol.until('the answer', () =>
      carol.client
        .getRoom(room)
        ?.getLiveTimeline()
        .getEvents()
        .find((event) => event.getContent()['body'] === 'echo: a secret'),
    );
    assert.equal(answer.isEncrypted(), true);
    assert.equal(answer.getSender(), '@maubot:test');
  });
});
