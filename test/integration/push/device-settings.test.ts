import { expect } from 'chai';
import { InProcessServer } from '#test/support/in-process-server.ts';

describe('what account data says of how a device notifies its user', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  before(async () => {
    server = await InProcessServer.start();
  });
  after(() => server?.stop());

  const PREFIXES = ['m.local_notification_settings', 'org.matrix.msc3890.local_notification_settings'];
  const typeOf = (prefix: string, deviceId: string): string => `${prefix}.${deviceId}`;
  const set = async (deviceId: string): Promise<void> => {
    for (const prefix of PREFIXES)
      await server.must('alice', 'PUT', `/user/@alice:test/account_data/${typeOf(prefix, deviceId)}`, {
        is_silenced: true,
      });
  };
  const kept = async (deviceId: string): Promise<unknown[]> => {
    const events: { type: string; content: object }[] = (await server.must('alice', 'GET', '/sync')).account_data
      .events;
    return PREFIXES.map((prefix) => events.find(({ type }) => type === typeOf(prefix, deviceId))?.content);
  };

  it('is emptied when the device is logged out, and clients are told; what it says of others stays', async () => {
    await server.session('alice/PHONE');
    for (const deviceId of ['PHONE', 'DEVICE']) await set(deviceId);
    const { next_batch: since } = await server.must('alice', 'GET', '/sync');
    await server.must('alice/PHONE', 'POST', '/logout', {});
    await server.idle();
    expect(await kept('PHONE')).to.deep.equal([{}, {}]);
    expect(await kept('DEVICE')).to.deep.equal([{ is_silenced: true }, { is_silenced: true }]);
    const { account_data: news } = await server.must('alice', 'GET', `/sync?since=${since}`);
    expect(news.events.map(({ type }: { type: string }) => type).toSorted()).to.deep.equal(
      PREFIXES.map((prefix) => typeOf(prefix, 'PHONE')),
    );
  });
});
