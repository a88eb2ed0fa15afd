import { expect } from 'chai';
import type { DeviceChanged } from '#src/services/accounts/stream/account-stream.ts';
import { findCredentials } from '#src/storage/accounts/accounts.ts';
import { findDevice } from '#src/storage/accounts/devices.ts';
import { waitingJobs } from '#test/support/jobs.ts';
import { AccountsServer, PASSWORD, passwordAuth, SERVER_NAME } from './accounts-server.ts';

describe('devices', () => {
  let server: AccountsServer;
  before(async () => {
    server = await AccountsServer.start();
  });
  after(() => server.stop());

  const ids = async (token: string): Promise<string[]> =>
    (await server.request('GET', '/devices', undefined, token)).body.devices.map(
      (device: { device_id: string }) => device.device_id,
    );

  it('says of a device without a name that its name is null, as clients have come to expect', async () => {
    const { body: mine } = await server.register({});
    const { body } = await server.request('GET', '/devices', undefined, mine.access_token);
    expect(body.devices[0]).to.include({ device_id: mine.device_id, display_name: null });
    const one = await server.request('GET', `/devices/${mine.device_id}`, undefined, mine.access_token);
    expect(one.body.display_name).to.equal(null);
  });

  it('lists own devices only, with when and from where they were last seen', async () => {
    await server.register();
    const { body: mine } = await server.register({ initial_device_display_name: 'Phone' });
    const { body } = await server.request('GET', '/devices', undefined, mine.access_token);
    expect(body.devices).to.deep.equal([
      {
        device_id: mine.device_id,
        display_name: 'Phone',
        last_seen_ip: '127.0.0.1',
        last_seen_ts: server.clock.now(),
        'org.matrix.msc3852.last_seen_user_agent': 'node',
      },
    ]);
  });

  it('answers 404 for devices of others and unknown ones', async () => {
    const { body: other } = await server.register();
    const { body: mine } = await server.register();
    for (const [method, members] of [
      ['GET', undefined],
      ['PUT', { display_name: 'x' }],
      ['PUT', {}],
    ] as const) {
      const { status, body } = await server.request(method, `/devices/${other.device_id}`, members, mine.access_token);
      expect([status, body.errcode]).to.deep.equal([404, 'M_NOT_FOUND']);
    }
  });

  it('renames a device, leaves it alone without a name, and refuses very long ones', async () => {
    const { body } = await server.register({ initial_device_display_name: 'old' });
    const name = async () =>
      (await server.request('GET', `/devices/${body.device_id}`, undefined, body.access_token)).body.display_name;
    const put = (members: object) => server.request('PUT', `/devices/${body.device_id}`, members, body.access_token);
    const heard: DeviceChanged[] = [];
    const off = server.services.accountStream.on('device_changed', (event) => {
      heard.push(event);
    });
    expect((await put({ display_name: '新しい' })).body).to.deep.equal({});
    expect(await name()).to.equal('新しい');
    expect((await put({})).status).to.equal(200);
    expect((await put({ display_name: 'x'.repeat(1000) })).status).to.equal(400);
    off();
    expect(await name()).to.equal('新しい');
    expect(heard).to.deep.equal([
      { kind: 'device_changed', userId: body.user_id, deviceId: body.device_id, change: 'renamed' },
    ]);
  });

  it('deletes a device after authentication; its token is dead at once', async () => {
    const { body: first } = await server.register();
    const { body: second } = await server.logIn(first.user_id);
    expect(await server.isAlive(second.access_token)).to.equal(true);
    const path = `/devices/${second.device_id}`;
    const challenge = await server.request('DELETE', path, {}, first.access_token);
    expect(challenge.status).to.equal(401);
    expect(challenge.body.flows).to.deep.equal([{ stages: ['m.login.password'] }]);
    expect(challenge.body.params).to.deep.equal({});
    const { session } = challenge.body;
    const wrong = await server.request(
      'DELETE',
      path,
      { auth: passwordAuth(first.user_id, 'wrong', session) },
      first.access_token,
    );
    expect(wrong.status).to.equal(401);
    expect(wrong.body).to.include({ errcode: 'M_FORBIDDEN', session });
    expect(wrong.body).to.include.all.keys('error', 'flows', 'params');
    expect(challenge.body).to.not.have.property('completed');
    expect(wrong.body.completed, 'the answer to an attempt says what is complete, also when nothing is').to.deep.equal(
      [],
    );
    expect(await server.isAlive(second.access_token)).to.equal(true);
    const auth = passwordAuth(first.user_id, PASSWORD, session);
    expect((await server.request('DELETE', path, { auth }, first.access_token)).status).to.equal(200);
    expect(await server.isAlive(second.access_token)).to.equal(false);
    const repeated = await server.request('DELETE', path, { auth: { session } }, first.access_token);
    expect(repeated.status, 'the same request again').to.equal(200);
  });

  it('asks for authentication when DELETE has no body at all', async () => {
    const { body } = await server.register();
    expect(
      (await server.request('DELETE', `/devices/${body.device_id}`, undefined, body.access_token)).status,
    ).to.equal(401);
  });

  it('accepts localpart, user id, and the older member user for authentication, without a session', async () => {
    const { body: me } = await server.register();
    const localpart = me.user_id.slice(1).split(':')[0];
    const forms = [
      passwordAuth(me.user_id),
      passwordAuth(localpart),
      { type: 'm.login.password', user: localpart, password: PASSWORD },
    ];
    for (const auth of forms) {
      const { body: gone } = await server.logIn(me.user_id);
      expect((await server.request('DELETE', `/devices/${gone.device_id}`, { auth }, me.access_token)).status).to.equal(
        200,
      );
      expect(await server.isAlive(gone.access_token)).to.equal(false);
    }
  });

  it('answers 403 to who authenticates as another user', async () => {
    const { body: me } = await server.register();
    const { body: other } = await server.register();
    const auth = passwordAuth(other.user_id);
    const { status, body } = await server.request('DELETE', `/devices/${me.device_id}`, { auth }, me.access_token);
    expect([status, body.errcode]).to.deep.equal([403, 'M_FORBIDDEN']);
    expect(await server.isAlive(me.access_token)).to.equal(true);
  });

  it('does not let a session that deletes one device delete another, or be used by somebody else', async () => {
    const { body: me } = await server.register();
    const { body: second } = await server.logIn(me.user_id);
    const { body: challenge } = await server.request('DELETE', `/devices/${second.device_id}`, {}, me.access_token);
    const auth = passwordAuth(me.user_id, PASSWORD, challenge.session);
    await server.request('DELETE', `/devices/${second.device_id}`, { auth }, me.access_token);
    for (const [method, path, members] of [
      ['DELETE', `/devices/${me.device_id}`, {}],
      ['POST', '/delete_devices', { devices: [me.device_id] }],
      ['POST', '/account/deactivate', {}],
    ] as const) {
      const answer = await server.request(
        method,
        path,
        { ...members, auth: { session: challenge.session } },
        me.access_token,
      );
      expect(answer.status).to.equal(403);
    }
    expect(await server.isAlive(me.access_token)).to.equal(true);
  });

  it('deletes several devices at once and passes over those that are gone', async () => {
    const { body: me } = await server.register();
    const gone = [(await server.logIn(me.user_id)).body, (await server.logIn(me.user_id)).body];
    const devices = [...gone.map((device) => device.device_id), 'NEVERWAS'];
    const asked = await server.request('POST', '/delete_devices', { devices }, me.access_token);
    expect(asked.status).to.equal(401);
    const auth = passwordAuth(me.user_id, PASSWORD, asked.body.session);
    expect((await server.request('POST', '/delete_devices', { devices, auth }, me.access_token)).status).to.equal(200);
    expect(await ids(me.access_token)).to.deep.equal([me.device_id]);
    for (const device of gone) expect(await server.isAlive(device.access_token)).to.equal(false);
  });

  it('refuses device ids that cannot be', async () => {
    for (const deviceId of ['', 'nul\0', 'x'.repeat(300)]) {
      const { status, body } = await server.register({ device_id: deviceId });
      expect([status, body.errcode]).to.deep.equal([400, 'M_INVALID_PARAM']);
    }
  });

  it('writes what was seen of devices in one statement a minute, and the latest is shown before that', async () => {
    const { body: me } = await server.register();
    await server.isAlive(me.access_token);
    await server.services.activity.flush();
    await server.app.idle();
    const asked = await server.app.statements(async () => {
      for (let request = 0; request < 20; request += 1) await server.isAlive(me.access_token);
    });
    expect(asked).to.equal(0);
    const sent = await server.app.statementNames(async () => {
      await server.clock.advance(60_000);
      await server.services.activity.flush();
    });
    expect(sent.filter((name) => name === 'devices_seen')).to.have.length(1);
    const device = await server.services.database.read((tx) => findDevice(tx, me.user_id, me.device_id));
    expect(device).to.include({ lastSeenIp: '127.0.0.1' });
    expect(device?.lastSeenTs).to.be.within(server.clock.now() - 60_000, server.clock.now());
  });

  describe('and the password', () => {
    it('changes it; other devices are logged out and gone, the own token stays', async () => {
      const { body: me } = await server.register();
      const { body: other } = await server.logIn(me.user_id);
      const heard: string[] = [];
      const off = server.services.accountStream.on('session_ended', ({ deviceId, reason }) => {
        heard.push(`${deviceId} ${reason}`);
      });
      const change = { new_password: 'a new password', auth: passwordAuth(me.user_id) };
      expect(
        (await server.request('POST', '/account/password', { new_password: 'a new password' }, me.access_token)).status,
      ).to.equal(401);
      expect((await server.request('POST', '/account/password', change, me.access_token)).status).to.equal(200);
      off();
      expect(heard).to.deep.equal([`${other.device_id} password_changed`]);
      expect(await ids(me.access_token)).to.deep.equal([me.device_id]);
      expect(await server.isAlive(other.access_token)).to.equal(false);
      expect((await server.logIn(me.user_id)).status).to.equal(403);
      expect((await server.logIn(me.user_id, { password: 'a new password' })).status).to.equal(200);
    });

    it('is changed once by an authentication: repeated requests succeed, and hash and log out nothing again', async () => {
      const { body: me } = await server.register();
      const change = (auth?: object) =>
        server.request('POST', '/account/password', { new_password: 'brand new secret', auth }, me.access_token);
      const { session } = (await change()).body;
      expect((await change(passwordAuth(me.user_id, PASSWORD, session))).status).to.equal(200);
      const { body: later } = await server.logIn(me.user_id, { password: 'brand new secret' });
      const hashBefore = await findCredentials(server.services.database, [me.user_id]);
      for (const auth of [{ session }, passwordAuth(me.user_id, PASSWORD, session)])
        expect((await change(auth)).status).to.equal(200);
      expect(await findCredentials(server.services.database, [me.user_id])).to.deep.equal(hashBefore);
      expect(await server.isAlive(later.access_token), 'who logged in since stays').to.equal(true);
    });

    it('keeps all devices when logout_devices is false', async () => {
      const { body: me } = await server.register();
      const { body: other } = await server.logIn(me.user_id);
      const change = { new_password: 'a new password', logout_devices: false, auth: passwordAuth(me.user_id) };
      expect((await server.request('POST', '/account/password', change, me.access_token)).status).to.equal(200);
      expect(await server.isAlive(other.access_token)).to.equal(true);
    });

    it('answers 400 M_WEAK_PASSWORD before asking for authentication', async () => {
      const { body: me } = await server.register();
      const { body } = await server.request('POST', '/account/password', { new_password: 'x' }, me.access_token);
      expect(body.errcode).to.equal('M_WEAK_PASSWORD');
    });
  });

  describe('and deactivation', () => {
    it('ends everything, gives the name to nobody, tells who listens, and makes a job of the rest', async () => {
      const { body: me } = await server.register({ username: 'leaving' });
      const { body: other } = await server.logIn(me.user_id);
      const heard: unknown[] = [];
      server.services.accountStream.on('deactivated', (event) => {
        heard.push(event);
      });
      expect((await server.request('POST', '/account/deactivate', {}, me.access_token)).status).to.equal(401);
      const wrong = await server.request(
        'POST',
        '/account/deactivate',
        { auth: passwordAuth(me.user_id, 'wrong') },
        me.access_token,
      );
      expect(wrong.body.errcode).to.equal('M_FORBIDDEN');
      expect(await server.isAlive(me.access_token)).to.equal(true);
      const members = { erase: true, auth: passwordAuth(me.user_id) };
      const { status, body } = await server.request('POST', '/account/deactivate', members, me.access_token);
      expect([status, body]).to.deep.equal([200, { id_server_unbind_result: 'success' }]);
      expect(heard).to.deep.equal([{ kind: 'deactivated', userId: me.user_id, erase: true }]);
      expect(await waitingJobs(server.services.database)).to.deep.include({
        job: 'accounts.finish_deactivation',
        payload: { userId: me.user_id },
      });
      expect(await server.isAlive(me.access_token)).to.equal(false);
      expect(await server.isAlive(other.access_token)).to.equal(false);
      const login = await server.logIn('leaving');
      const unknown = await server.logIn('never-here');
      expect([login.status, login.body]).to.deep.equal([403, unknown.body]);
      expect((await server.register({ username: 'leaving' })).body.errcode).to.equal('M_USER_IN_USE');
      expect(await server.services.users.account(`@leaving:${SERVER_NAME}`)).to.include({
        deactivated: true,
        erased: true,
      });
    });
  });
});

describe('authentication a short while ago', () => {
  let server: AccountsServer;
  before(async () => {
    server = await AccountsServer.start({ uiaReuseMs: 60_000 });
  });
  after(() => server.stop());

  it('lets the same device delete more with the dummy stage, for as long as is configured, but not change the password', async () => {
    const { body: me } = await server.register();
    const { body: other } = await server.logIn(me.user_id);
    const remove = (auth?: object, token = me.access_token) =>
      server.request('POST', '/delete_devices', { devices: ['GONE'], ...(auth === undefined ? {} : { auth }) }, token);
    const dummy = { type: 'm.login.dummy' };
    expect((await remove(dummy)).status, 'nothing was proved yet').to.equal(401);
    const { body: first } = await remove();
    expect((await remove(passwordAuth(me.user_id, PASSWORD, first.session))).status).to.equal(200);
    await server.clock.advance(30_000);
    const repeated = await remove(passwordAuth(me.user_id, 'wrong', first.session));
    expect(repeated.status, 'repeating a request proves nothing anew').to.equal(200);
    await server.clock.advance(29_999);
    const challenge = await remove();
    expect(challenge.status, 'it must still be asked').to.equal(401);
    expect(challenge.body.flows).to.deep.include({ stages: ['m.login.dummy'] });
    expect((await remove(dummy)).status).to.equal(200);
    expect((await remove(dummy, other.access_token)).status, 'another device').to.equal(401);
    const change = { new_password: 'a new password', auth: dummy };
    expect((await server.request('POST', '/account/password', change, me.access_token)).status).to.equal(401);
    await server.clock.advance(1);
    expect((await remove(dummy)).status).to.equal(401);
  });
});
