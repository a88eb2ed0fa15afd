import { OPERATOR } from '#src/services/audit/actor.ts';
import { expect } from 'chai';
import { registrationOf } from '#test/support/stand-ins/application-service.ts';
import { crossSigningKeyOf, keyOf } from '#test/integration/e2ee/encryption-server.ts';
import { InProcessServer } from '#test/support/in-process-server.ts';

const IRC = registrationOf('irc');
const XMPP = registrationOf('xmpp', { namespaces: { users: [{ exclusive: false, regex: '@_xmpp_' }] } });
/** Gives bridges the accounts of all users. */
const PUPPET = registrationOf('puppet', { namespaces: { users: [{ exclusive: false, regex: '@.*:test' }] } });
const TYPE = 'm.login.application_service';

describe('accounts and application services', () => {
  let server: InProcessServer;
  before(async () => {
    server = await InProcessServer.start({
      appservices: [IRC, XMPP, PUPPET],
      rateLimits: {
        registration: { perSecond: 0.001, burst: 3 },
        registration_success: { perSecond: 0.001, burst: 50 },
        login_success: { perSecond: 0.001, burst: 3 },
      },
      config: { quotas: { devices: 4 } },
    });
  });
  after(() => server.stop());

  const register = (username: string | undefined, more: object = { inhibit_login: true }, token = IRC.as_token) =>
    server.ask(token, 'POST', '/register', { type: TYPE, username, ...more });
  const logIn = (user: string, token: string | undefined = IRC.as_token, more: object = {}) =>
    server.ask(token, 'POST', '/login', { type: TYPE, identifier: { type: 'm.id.user', user }, ...more });
  const errcode = ({ body, status }: { readonly body: { readonly errcode?: string }; readonly status: number }) =>
    [status, body.errcode] as const;

  describe('registering', () => {
    it('makes a user of the service without a password, and logs in unless that is inhibited', async () => {
      const made = await register('_irc_one');
      expect(made.body).to.include({ user_id: '@_irc_one:test' });
      expect(made.body).not.to.have.any.keys('access_token', 'device_id');
      const account = await server.services.users.account('@_irc_one:test');
      expect(account).to.include({ appserviceId: 'irc', admin: false, isGuest: false });
      const loggedIn = await register('_irc_two', { device_id: 'D', initial_device_display_name: 'Bridge' });
      expect(loggedIn.body).to.include({ user_id: '@_irc_two:test', device_id: 'D' });
      const who = await server.ask(loggedIn.body.access_token, 'GET', '/account/whoami');
      expect(who.body).to.include({ user_id: '@_irc_two:test', device_id: 'D' });
    });

    it('takes names as bridges write them: with capitals, and as full user ids', async () => {
      expect((await register('_irc_Nick[m]')).body.user_id).to.equal('@_irc_Nick[m]:test');
      expect((await register('@_irc_full:test')).body.user_id).to.equal('@_irc_full:test');
    });

    it('is refused outside the namespaces, for names that are taken, and for names that are none', async () => {
      for (const username of ['alice', '_xmpp_one', '_puppet_bot', '_IRC_one'])
        expect(errcode(await register(username)), username).to.deep.equal([400, 'M_EXCLUSIVE']);
      expect(errcode(await register('_irc_three', {}, XMPP.as_token))).to.deep.equal([400, 'M_EXCLUSIVE']);
      // A namespace of everybody is not one of those that others have for themselves.
      expect(errcode(await register('_irc_three', {}, PUPPET.as_token))).to.deep.equal([400, 'M_EXCLUSIVE']);
      expect(errcode(await register('_irc_one'))).to.deep.equal([400, 'M_USER_IN_USE']);
      expect(errcode(await register(IRC.sender_localpart))).to.deep.equal([400, 'M_USER_IN_USE']);
      for (const username of ['_irc_ö', '_irc_ ', '_irc_:', `_irc_${'x'.repeat(250)}`])
        expect(errcode(await register(username)), username).to.deep.equal([400, 'M_INVALID_USERNAME']);
      expect(errcode(await register(undefined))).to.deep.equal([400, 'M_MISSING_PARAM']);
    });

    it('is held by no limit of strangers', async () => {
      for (let count = 0; count < 6; count++) expect((await register(`_irc_many${count}`)).status).to.equal(200);
      for (let count = 0; count < 3; count++) await server.ask(undefined, 'POST', '/register', {});
      expect((await server.ask(undefined, 'POST', '/register', {})).body.errcode).to.equal('M_LIMIT_EXCEEDED');
    });

    it('is refused to people in the namespaces that a service has for itself, and only there', async () => {
      await server.clock.advance(86_400_000);
      const available = (name: string) => server.ask(undefined, 'GET', `/register/available?username=${name}`);
      expect(errcode(await available('_irc_free'))).to.deep.equal([400, 'M_EXCLUSIVE']);
      expect(errcode(await available(IRC.sender_localpart))).to.deep.equal([400, 'M_EXCLUSIVE']);
      expect((await available('_xmpp_free')).body).to.deep.equal({ available: true });
      const wish = { username: '_irc_free', password: 'correct horse', auth: { type: 'm.login.dummy' } };
      expect(errcode(await server.ask(undefined, 'POST', '/register', wish))).to.deep.equal([400, 'M_EXCLUSIVE']);
      const other = { ...wish, username: '_xmpp_free' };
      expect((await server.ask(undefined, 'POST', '/register', other)).status).to.equal(200);
    });
  });

  describe('logging in', () => {
    it('is a flow where there are application services', async () => {
      expect((await server.must(undefined, 'GET', '/login')).flows).to.deep.include({ type: TYPE });
    });

    it('gives a token of a device for a user of the namespaces, by localpart or user id, and the sender', async () => {
      for (const user of ['_irc_one', '@_irc_one:test', '_irc_bot']) {
        const { body } = await logIn(user, IRC.as_token, { device_id: 'LOGIN' });
        expect(body, user).to.include({ device_id: 'LOGIN', user_id: user.startsWith('@') ? user : `@${user}:test` });
        expect((await server.ask(body.access_token, 'GET', '/account/whoami')).body.user_id).to.equal(body.user_id);
      }
      for (let count = 0; count < 4; count++)
        expect((await logIn('_irc_one', IRC.as_token, { device_id: 'LOGIN' })).status).to.equal(200);
    });

    it('is refused for users of others, for users that are not there, and for accounts that cannot be used', async () => {
      await server.account('alice', '_irc_locked', '_irc_over');
      await server.services.userAdministration.lock(OPERATOR, '@_irc_locked:test', true);
      await server.services.accounts.deactivate('@_irc_over:test', false);
      expect(errcode(await logIn('alice'))).to.deep.equal([400, 'M_EXCLUSIVE']);
      expect(errcode(await logIn('@_irc_one:elsewhere'))).to.deep.equal([400, 'M_EXCLUSIVE']);
      expect(errcode(await logIn('_irc_nobody'))).to.deep.equal([403, 'M_FORBIDDEN']);
      expect(errcode(await logIn('_irc_locked'))).to.deep.equal([401, 'M_USER_LOCKED']);
      expect(errcode(await logIn('_irc_over'))).to.deep.equal([403, 'M_USER_DEACTIVATED']);
      const { status, body } = await server.ask(IRC.as_token, 'POST', '/login', { type: TYPE });
      expect([status, body.errcode]).to.deep.equal([400, 'M_MISSING_PARAM']);
    });
  });

  describe('devices', () => {
    const put = (deviceId: string, body: object = {}, token = IRC.as_token) =>
      server.ask(token, 'PUT', `/devices/${deviceId}?user_id=@_irc_dev:test`, body);

    before(() => register('_irc_dev'));

    it('are made by application services, and by nobody else', async () => {
      const made = await put('NEW', { display_name: 'Bridge' });
      expect([made.status, made.body]).to.deep.equal([201, {}]);
      const who = await server.ask(IRC.as_token, 'GET', '/account/whoami?user_id=@_irc_dev:test&device_id=NEW');
      expect(who.body.device_id).to.equal('NEW');
      const again = await put('NEW', { display_name: 'Other' });
      expect([again.status, again.body]).to.deep.equal([200, {}]);
      const shown = await server.ask(IRC.as_token, 'GET', '/devices/NEW?user_id=@_irc_dev:test');
      expect(shown.body.display_name).to.equal('Other');
      expect(errcode(await server.ask('alice', 'PUT', '/devices/NEW', {}))).to.deep.equal([404, 'M_NOT_FOUND']);
    });

    it('are made within the bounds of everybody', async () => {
      expect(errcode(await put('x'.repeat(256)))).to.deep.equal([400, 'M_INVALID_PARAM']);
      expect(errcode(await put('LONG', { display_name: 'x'.repeat(257) }))).to.deep.equal([400, 'M_INVALID_PARAM']);
      for (const id of ['TWO', 'THREE', 'FOUR']) expect((await put(id)).status).to.equal(201);
      expect((await put('FIVE')).body.errcode).to.equal('M_TOO_LARGE');
      expect((await server.ask(IRC.as_token, 'GET', '/devices?user_id=@_irc_dev:test')).body.devices).to.have.length(4);
    });

    it('publish the keys of a user who never logged in', async () => {
      const path = '/keys/upload?user_id=@_irc_dev:test&org.matrix.msc3202.device_id=TWO';
      const uploaded = await server.ask(IRC.as_token, 'POST', path, {});
      expect(uploaded.status).to.equal(200);
      const without = await server.ask(IRC.as_token, 'POST', '/keys/upload?user_id=@_irc_dev:test', {});
      expect(without.status).to.equal(400);
    });

    it('are deleted without authentication by application services, which users need', async () => {
      const user = '?user_id=@_irc_dev:test';
      expect((await server.ask(IRC.as_token, 'DELETE', `/devices/TWO${user}`)).status).to.equal(200);
      const several = await server.ask(IRC.as_token, 'POST', `/delete_devices${user}`, { devices: ['THREE', 'GONE'] });
      expect(several.status).to.equal(200);
      const left = await server.ask(IRC.as_token, 'GET', `/devices${user}`);
      expect(left.body.devices.map(({ device_id: id }: { device_id: string }) => id)).to.have.members(['NEW', 'FOUR']);
      expect((await server.ask('alice', 'DELETE', '/devices/DEVICE')).body).to.have.property('flows');
    });
  });

  it('replace the cross-signing keys of their users without authentication, which those users themselves need', async () => {
    const user = '@_irc_keys:test';
    await register('_irc_keys');
    const upload = (token: string, query: string, seed: number) => {
      const body = { master_key: crossSigningKeyOf(user, 'master', keyOf(seed)) };
      return server.ask(token, 'POST', `/keys/device_signing/upload${query}`, body);
    };
    for (const seed of [1, 2]) expect((await upload(IRC.as_token, `?user_id=${user}`, seed)).status).to.equal(200);
    const { body } = await logIn('_irc_keys');
    expect((await upload(body.access_token, '', 3)).body).to.have.property('flows');
    const { master_keys: keys } = await server.must('alice', 'POST', '/keys/query', { device_keys: { [user]: [] } });
    expect(Object.values(keys[user].keys)).to.deep.equal([keyOf(2).publicKey]);
  });

  describe('the management of accounts', () => {
    it('is none of the business of application services', async () => {
      const as = '?user_id=@alice:test';
      for (const [method, path, body] of [
        ['POST', '/account/password', { new_password: 'a new password' }],
        ['POST', '/account/3pid/add', { sid: 's', client_secret: 'c' }],
        ['POST', '/account/3pid/delete', { medium: 'email', address: 'a@mail.test' }],
        ['POST', '/v1/login/get_token', {}],
        ['POST', '/account/deactivate', {}],
      ] as const)
        expect(errcode(await server.ask(PUPPET.as_token, method, path + as, body)), path).to.deep.equal([
          403,
          'M_FORBIDDEN',
        ]);
    });

    it('leaves them the end of users who are their own', async () => {
      await register('_irc_end');
      const ended = await server.ask(IRC.as_token, 'POST', '/account/deactivate?user_id=@_irc_end:test', {});
      expect(ended.status).to.equal(200);
      expect((await server.services.users.account('@_irc_end:test'))?.deactivated).to.equal(true);
    });
  });
});
