import { expect } from 'chai';
import { deviceKeysOf, EncryptionServer, keyOf, type TestDevice } from './encryption-server.ts';

const PATH = '/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device';

describe('a dehydrated device', function () {
  this.timeout(60_000);
  let server: EncryptionServer;
  let alice: TestDevice;
  let bob: TestDevice;

  before(async () => {
    server = await EncryptionServer.start();
  });
  after(() => server.stop());
  beforeEach(async () => {
    alice = await server.register();
    bob = await server.register();
  });

  const dehydrate = (deviceId: string): ReturnType<EncryptionServer['ask']> =>
    server.ask(alice, 'PUT', PATH, {
      device_id: deviceId,
      device_data: { algorithm: 'org.matrix.msc3814.v2', device_pickle: 'p', nonce: 'n' },
      initial_device_display_name: 'Dehydrated',
      device_keys: deviceKeysOf({ ...alice, deviceId }, keyOf(1)),
      one_time_keys: { 'signed_curve25519:A': { key: 'k', signatures: {} } },
      fallback_keys: { 'signed_curve25519:F': { key: 'f', fallback: true, signatures: {} } },
    });

  it('is a device that others send keys to, and gets its messages page by page without losing them', async () => {
    await dehydrate('DEHYDRATED');
    expect((await server.must(alice, 'GET', PATH)).device_id).to.equal('DEHYDRATED');
    const { devices } = await server.must(alice, 'GET', '/devices');
    expect(devices.map((device: { device_id: string }) => device.device_id)).to.include('DEHYDRATED');
    const { device_keys: keys } = await server.must(bob, 'POST', '/keys/query', {
      device_keys: { [alice.userId]: [] },
    });
    expect(Object.keys(keys[alice.userId])).to.deep.equal(['DEHYDRATED']);
    const { one_time_keys: claimed } = await server.must(bob, 'POST', '/keys/claim', {
      one_time_keys: { [alice.userId]: { DEHYDRATED: 'signed_curve25519' } },
    });
    expect(Object.keys(claimed[alice.userId].DEHYDRATED)).to.deep.equal(['signed_curve25519:A']);
    for (let n = 0; n < 120; n++)
      await server.must(bob, 'PUT', `/sendToDevice/m.room.encrypted/t${n}`, {
        messages: { [alice.userId]: { DEHYDRATED: { n } } },
      });
    for (const method of ['GET', 'POST'] as const) {
      const page = (token?: string): ReturnType<EncryptionServer['must']> =>
        method === 'GET'
          ? server.must(alice, 'GET', `${PATH}/DEHYDRATED/events${token === undefined ? '' : `?from=${token}`}`)
          : server.must(alice, 'POST', `${PATH}/DEHYDRATED/events`, token === undefined ? {} : { next_batch: token });
      const first = await page();
      const second = await page(first.next_batch);
      expect([first, second].map(({ events }) => events.length)).to.deep.equal([100, 20]);
      // Today's clients end where there is no token any more, older ones where nothing comes any more.
      if (method === 'GET') expect(second).not.to.have.property('next_batch');
      else expect((await page(second.next_batch)).events).to.deep.equal([]);
      expect(first.events[0]).to.deep.equal({ type: 'm.room.encrypted', sender: bob.userId, content: { n: 0 } });
    }
  });

  it('takes the place of the one before', async () => {
    await dehydrate('FIRST');
    await dehydrate('SECOND');
    const { devices } = await server.must(alice, 'GET', '/devices');
    const ids = devices.map((device: { device_id: string }) => device.device_id);
    expect(ids).to.have.members([alice.deviceId, 'SECOND']);
    expect((await server.must(alice, 'DELETE', PATH)).device_id).to.equal('SECOND');
    expect((await server.ask(alice, 'GET', PATH)).body.errcode).to.equal('M_NOT_FOUND');
    expect((await server.ask(alice, 'DELETE', PATH)).body.errcode).to.equal('M_NOT_FOUND');
  });

  it('stays with its keys and messages where one that is to take its place is refused', async () => {
    await dehydrate('KEPT');
    await server.must(bob, 'PUT', '/sendToDevice/m.room.encrypted/kept', {
      messages: { [alice.userId]: { KEPT: { n: 1 } } },
    });
    expect((await dehydrate(alice.deviceId)).body.errcode).to.equal('M_INVALID_PARAM');
    expect((await server.must(alice, 'GET', PATH)).device_id).to.equal('KEPT');
    const { events } = await server.must(alice, 'POST', `${PATH}/KEPT/events`, {});
    expect(events).to.have.length(1);
    const { one_time_keys: claimed } = await server.must(bob, 'POST', '/keys/claim', {
      one_time_keys: { [alice.userId]: { KEPT: 'signed_curve25519' } },
    });
    expect(Object.keys(claimed[alice.userId].KEPT)).to.deep.equal(['signed_curve25519:A']);
  });

  it('is one of those that were dehydrated at once, and the others are gone', async () => {
    const answers = await Promise.all(['A1', 'A2', 'A3', 'A4', 'A1'].map((deviceId) => dehydrate(deviceId)));
    expect(answers.map(({ status }) => status)).to.deep.equal([200, 200, 200, 200, 200]);
    const { device_id: kept } = await server.must(alice, 'GET', PATH);
    const { devices } = await server.must(alice, 'GET', '/devices');
    const ids = devices.map((device: { device_id: string }) => device.device_id);
    expect(ids).to.have.members([alice.deviceId, kept]);
    const { device_keys: keys } = await server.must(bob, 'POST', '/keys/query', {
      device_keys: { [alice.userId]: [] },
    });
    expect(Object.keys(keys[alice.userId])).to.deep.equal([kept]);
  });

  it('cannot be one of the devices in use, nor be without keys, and is seen by its user only', async () => {
    expect((await dehydrate(alice.deviceId)).body.errcode).to.equal('M_INVALID_PARAM');
    expect((await server.ask(alice, 'GET', PATH)).body.errcode).to.equal('M_NOT_FOUND');
    const { body } = await server.ask(alice, 'PUT', PATH, { device_id: 'D', device_data: {} });
    expect(body.errcode).to.equal('M_MISSING_PARAM');
    await dehydrate('D');
    expect((await server.ask(bob, 'GET', `${PATH}/D/events`)).body.errcode).to.equal('M_NOT_FOUND');
    expect((await server.ask(alice, 'GET', `${PATH}/OTHER/events`)).body.errcode).to.equal('M_FORBIDDEN');
    expect((await server.ask(alice, 'GET', `${PATH}/D/events?from=x`)).body.errcode).to.equal('M_INVALID_PARAM');
  });
});
