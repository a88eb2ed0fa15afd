import { expect } from 'chai';
import { NotificationCountType, Preset } from 'matrix-js-sdk';
import { ChildServer } from '#test/support/child-server.ts';
import { PushGateway } from '#test/support/stand-ins/push-gateway.ts';
import { SdkClient } from '#test/support/sdk-client.ts';
import { until } from '#test/support/until.ts';

const PATIENCE_MS = 45_000;

describe('pushers of js-sdk clients', function () {
  this.timeout(180_000);
  let server: ChildServer;
  let gateway: PushGateway;
  const clients: SdkClient[] = [];
  before(async () => {
    gateway = await PushGateway.start();
    server = await ChildServer.start({
      database: 'shared',
      env: { TSUDOI_FEDERATION__ALLOW_IP_RANGES: '127.0.0.0/8', TSUDOI_PUSH__GRACE_MS: '100' },
    });
  });
  after(async () => {
    for (const client of clients) client.stop();
    await server?.dispose();
    await gateway?.stop();
  });

  const started = async (name: string): Promise<SdkClient> => {
    const client = await SdkClient.register(server.url, name);
    clients.push(client);
    return client.start();
  };
  /** The messages that were pushed, each once: a gateway tells those apart that come again. */
  const pushed = (): string[] => {
    const byId = new Map(gateway.notified.map(({ notification }) => [notification.event_id, notification]));
    return [...byId.values()].flatMap((notification) => notification.content?.body ?? []);
  };

  it('are set, silenced and set going again, and lose nothing when the server is killed', async () => {
    const [alice, bob] = [await started('alice'), await started('bob')];
    const { room_id: roomId } = await alice.client.createRoom({ preset: Preset.PublicChat });
    await bob.client.joinRoom(roomId);
    await bob.room(roomId);
    const pusher = {
      kind: 'http' as const,
      app_id: 'org.test.app',
      pushkey: 'key of bob',
      app_display_name: 'Test',
      device_display_name: 'Phone',
      lang: 'ja',
      data: { url: gateway.url, format: undefined },
    };
    await bob.client.setPusher(pusher as never);
    const [made] = (await bob.client.getPushers()).pushers;
    expect(made).to.include({ app_id: 'org.test.app', pushkey: 'key of bob', kind: 'http', lang: 'ja' });
    expect(made).to.include({ enabled: true, device_id: bob.client.getDeviceId() });

    const first = (await alice.client.sendTextMessage(roomId, '一つ目')).event_id;
    await until('the first push', () => pushed().includes('一つ目'), PATIENCE_MS);
    await bob.sees(roomId, first);
    expect(bob.client.getRoom(roomId)!.getUnreadNotificationCount(NotificationCountType.Total)).to.equal(1);
    await bob.client.sendReadReceipt(bob.client.getRoom(roomId)!.findEventById(first)!);
    await until('the new count', () => gateway.notified.at(-1)?.notification.counts.unread === 0, PATIENCE_MS);

    await bob.client.setPusher({ ...made, enabled: false } as never);
    await alice.client.sendTextMessage(roomId, 'unheard');
    await bob.client.setPusher({ ...made, enabled: true } as never);
    await alice.client.sendTextMessage(roomId, 'heard');
    await until('a push again', () => pushed().includes('heard'), PATIENCE_MS);
    expect(pushed()).not.to.include('unheard');

    const said: string[] = [];
    for (let life = 0; life < 3; life++) {
      for (let i = 0; i < 5; i++) {
        said.push(`life ${life}, message ${i}`);
        await alice.client.sendTextMessage(roomId, said.at(-1)!);
      }
      await server.kill('SIGKILL');
      await server.launch();
    }
    await until('all pushes', () => said.every((text) => pushed().includes(text)), PATIENCE_MS);
    expect(pushed().filter((text) => said.includes(text))).to.deep.equal(said);
    expect((await bob.client.getPushers()).pushers).to.have.length(1);
    await bob.client.removePusher('key of bob', 'org.test.app');
    expect((await bob.client.getPushers()).pushers).to.deep.equal([]);
  });
});
