import { expect } from 'chai';
import { forgetDeviceSettings } from '#src/jobs/definitions.ts';
import { InProcessServer, type Json } from '#test/support/in-process-server.ts';

const ALICE = '@alice:test';
const PREFIX = 'm.local_notification_settings';

describe('a job with a list of devices', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  before(async () => (server = await InProcessServer.start()));
  after(() => server.stop());

  it('forgets the settings of all of them but the one where it cannot, and of that one by a later job', async () => {
    await server.session('alice');
    const devices = ['FIRST', 'BAD', 'LAST'];
    const { accountData, database, outboxRelay } = server.services;
    for (const id of devices) await accountData.setByClient(ALICE, 0, `${PREFIX}.${id}`, { is_silenced: true });
    const left = async (): Promise<string[]> => {
      const found: string[] = [];
      for (const id of devices) {
        const content: Json = await server.must('alice', 'GET', `/user/${ALICE}/account_data/${PREFIX}.${id}`);
        if (Object.keys(content).length > 0) found.push(id);
      }
      return found;
    };
    const update = accountData.update.bind(accountData);
    accountData.update = (userId, room, type, change) =>
      type === `${PREFIX}.BAD` ? Promise.reject(new Error('this one is bad')) : update(userId, room, type, change);
    await database.write((tx) => tx.enqueue(forgetDeviceSettings, { userId: ALICE, deviceIds: devices }));
    outboxRelay.wake();
    await server.idle();
    expect(await left()).to.deep.equal(['BAD']);
    Reflect.deleteProperty(accountData, 'update');
    await database.write((tx) => tx.enqueue(forgetDeviceSettings, { userId: ALICE, deviceIds: devices }));
    outboxRelay.wake();
    await server.idle();
    expect(await left()).to.deep.equal([]);
  });
});
