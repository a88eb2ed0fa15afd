import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { registrationOf } from '#test/support/stand-ins/application-service.ts';
import { BOT_SDK, INSTALLATION_MS, modulesWithBotSdk } from '#test/support/bridges/bot-sdk.ts';
import { BridgeProcess } from '#test/support/bridges/bridge-process.ts';
import { ChildServer } from '#test/support/child-server.ts';
import { freePort } from '#test/support/free-port.ts';
import { SdkClient } from '#test/support/sdk-client.ts';
import { until } from '#test/support/until.ts';

const START_MS = 120_000;

describe(`an application service made with ${BOT_SDK}`, function () {
  this.timeout(120_000);
  let folder = '';
  let server: ChildServer | undefined;
  let bridge: BridgeProcess | undefined;
  let alice: SdkClient | undefined;

  before(async function () {
    this.timeout(INSTALLATION_MS + START_MS);
    const installed = modulesWithBotSdk();
    if ('reason' in installed) {
      // A package index is not everywhere.
      process.stdout.write(`      ${BOT_SDK} cannot be installed: ${installed.reason}\n`);
      this.skip();
    }
    folder = await mkdtemp(join(tmpdir(), 'tsudoi-bot-sdk-'));
    const port = await freePort();
    const file = join(folder, 'sdk.yaml');
    const registration = registrationOf('sdk', {
      url: `http://127.0.0.1:${port}`,
      sender_localpart: '_sdk_bot',
      namespaces: { users: [{ exclusive: true, regex: '@_sdk_.*:test' }], aliases: [], rooms: [] },
      rate_limited: false,
      'de.sorunome.msc2409.push_ephemeral': true,
    });
    await writeFile(file, JSON.stringify(registration));
    server = await ChildServer.start({
      database: 'shared',
      config: JSON.stringify({
        server_name: 'test',
        registration: { enabled: true },
        appservices: { files: [file] },
      }),
    });
    const script = join(import.meta.dirname, 'bot-sdk-appservice.cjs');
    const loader = join(import.meta.dirname, 'without-native-crypto.cjs');
    const made = new BridgeProcess(process.execPath, ['-r', loader, script, server.url, file, String(port)], {
      NODE_PATH: installed.modules,
    });
    bridge = made;
    await until(
      () => `the service: ${made.output}`,
      () => made.output.includes('ready'),
    );
    alice = await SdkClient.register(server.url, 'alice');
    await alice.start();
  });
  afterEach(function () {
    if (this.currentTest?.state === 'failed') process.stdout.write(`      what it wrote:\n${bridge?.output}\n`);
  });
  after(async () => {
    alice?.stop();
    await bridge?.kill();
    await server?.dispose();
    if (folder !== '') await rm(folder, { recursive: true, force: true });
  });

  it('joins with its bot where that is invited, hears what is said and who types, and answers with a ghost', async () => {
    assert.ok(alice);
    const { client } = alice;
    const { room_id: room } = await client.createRoom({ invite: ['@_sdk_bot:test'], preset: 'public_chat' as never });
    await until('the bot in the room', () => bridge?.output.includes(`@_sdk_bot:test joined ${room}`));
    await client.sendTextMessage(room, 'hello');
    const echo = await alice.until('the echo', () =>
      client
        .getRoom(room)
        ?.getLiveTimeline()
        .getEvents()
        .find((event) => event.getContent()['body'] === 'echo: hello'),
    );
    assert.equal(echo.getSender(), '@_sdk_echo:test');
    await client.sendTyping(room, true, 10_000);
    await until('who types', () => bridge?.output.includes('typing: @alice:test'));
  });

  it('invites to its ghosts reach it, and they come', async () => {
    assert.ok(alice);
    const { client } = alice;
    const { room_id: room } = await client.createRoom({ invite: ['@_sdk_echo:test'] });
    await until('the ghost in the room', () => bridge?.output.includes(`@_sdk_echo:test joined ${room}`));
    await alice.until('the ghost is seen', () => alice?.membership(room, '@_sdk_echo:test') === 'join');
  });
});
