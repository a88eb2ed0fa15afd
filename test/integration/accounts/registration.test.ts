import { OPERATOR } from '#src/services/audit/actor.ts';
import { createHmac } from 'node:crypto';
import { expect } from 'chai';
import { sql } from '#src/storage/database.ts';
import { AccountsServer, PASSWORD, SERVER_NAME, SHARED_SECRET } from './accounts-server.ts';

describe('POST /register', () => {
  let server: AccountsServer;
  before(async () => {
    server = await AccountsServer.start();
  });
  after(() => server.stop());

  it('asks for authentication first, with flows, params and a session, and without an errcode', async () => {
    const { status, body } = await server.request('POST', '/register', { username: 'asks', password: PASSWORD });
    expect(status).to.equal(401);
    expect(body.flows).to.deep.equal([{ stages: ['m.login.dummy'] }]);
    expect(body.params).to.deep.equal({});
    expect(body.session).to.be.a('string').and.not.equal('');
    expect(body).to.not.have.any.keys('errcode', 'completed');
  });

  it('tells the flows to a request without any members', async () => {
    expect((await server.request('POST', '/register', {})).status).to.equal(401);
  });

  it('registers with the session of the 401, and the token works at once', async () => {
    const members = { username: 'with-session', password: PASSWORD, initial_device_display_name: '集い' };
    const { body: challenge } = await server.request('POST', '/register', members);
    const { status, body } = await server.request('POST', '/register', {
      ...members,
      auth: { type: 'm.login.dummy', session: challenge.session },
    });
    expect(status).to.equal(200);
    expect(body.user_id).to.equal(`@with-session:${SERVER_NAME}`);
    expect(body.home_server).to.equal(SERVER_NAME);
    expect(body).to.not.have.any.keys('refresh_token', 'expires_in_ms');
    const whoami = await server.request('GET', '/account/whoami', undefined, body.access_token);
    expect(whoami.body).to.deep.equal({ user_id: body.user_id, device_id: body.device_id, is_guest: false });
    const device = await server.request('GET', `/devices/${body.device_id}`, undefined, body.access_token);
    expect(device.body.display_name).to.equal('集い');
  });

  it('accepts auth without a session', async () => {
    expect((await server.register({ username: 'sessionless' })).status).to.equal(200);
  });

  describe('in a session of several requests', () => {
    const begin = async (members: object = {}): Promise<string> =>
      (await server.request('POST', '/register', members)).body.session;
    const finish = (session: string, members: object = {}) =>
      server.request('POST', '/register', { ...members, auth: { type: 'm.login.dummy', session } });

    it('takes name and password when they come after the flows were asked for by an empty request', async () => {
      const { status, body } = await finish(await begin(), { username: 'comes-later', password: PASSWORD });
      expect([status, body.user_id]).to.deep.equal([200, `@comes-later:${SERVER_NAME}`]);
    });

    it('remembers what was sent before: the last request may have nothing but auth', async () => {
      const wishes = { device_id: 'SAIDBEFORE', initial_device_display_name: 'Phone', refresh_token: true };
      const { status, body } = await finish(await begin({ username: 'said-before', password: PASSWORD, ...wishes }));
      expect([status, body.user_id, body.device_id]).to.deep.equal([200, `@said-before:${SERVER_NAME}`, 'SAIDBEFORE']);
      expect(body.refresh_token).to.be.a('string');
      expect((await server.logIn('said-before')).status).to.equal(200);
    });

    it('lets a later value take the place of an earlier one', async () => {
      const session = await begin({ username: 'before', password: 'the first password' });
      const { body } = await finish(session, { username: 'after', password: PASSWORD });
      expect(body.user_id).to.equal(`@after:${SERVER_NAME}`);
      expect(await server.services.users.exists(`@before:${SERVER_NAME}`)).to.equal(false);
      expect((await server.logIn('after', { password: 'the first password' })).status).to.equal(403);
      expect((await server.logIn('after')).status).to.equal(200);
    });

    it('keeps the earlier value when a later one is refused, and continues', async () => {
      await server.register({ username: 'not-free' });
      const session = await begin({ username: 'is-free', password: PASSWORD });
      expect((await finish(session, { username: 'not-free' })).body.errcode).to.equal('M_USER_IN_USE');
      expect((await finish(session)).body.user_id).to.equal(`@is-free:${SERVER_NAME}`);
    });

    it('says that the name was taken meanwhile, and registers another one with the same authentication', async () => {
      const session = await begin({ username: 'was-free', password: PASSWORD });
      await server.register({ username: 'was-free' });
      expect((await finish(session)).body.errcode).to.equal('M_USER_IN_USE');
      expect((await finish(session, { username: 'still-free' })).body.user_id).to.equal(`@still-free:${SERVER_NAME}`);
    });

    it('gives whoever repeats it the same account, device and tokens, with a name or without one', async () => {
      for (const members of [{ username: 'repeated', password: PASSWORD }, { password: PASSWORD }]) {
        const session = await begin(members);
        const first = await finish(session, members);
        for (const again of [members, {}, { ...members, device_id: first.body.device_id }]) {
          // A device id that was made up by the server is not what was asked for.
          if ('device_id' in again) expect((await finish(session, again)).status).to.equal(403);
          else expect((await finish(session, again)).body).to.deep.equal(first.body);
        }
        const byIdAlone = await server.request('POST', '/register', { auth: { session } });
        expect(byIdAlone.body).to.deep.equal(first.body);
        const devices = await server.request('GET', '/devices', undefined, first.body.access_token);
        expect(devices.body.devices).to.have.length(1);
      }
    });

    it('does not give the account to a request for another name, password or device', async () => {
      const session = await begin({ username: 'mine', password: PASSWORD, device_id: 'MINE' });
      expect((await finish(session)).status).to.equal(200);
      for (const other of [{ username: 'yours' }, { password: 'another password' }, { device_id: 'YOURS' }]) {
        expect((await finish(session, other)).body.errcode).to.equal('M_FORBIDDEN');
      }
      expect(await server.services.users.exists(`@yours:${SERVER_NAME}`)).to.equal(false);
    });

    it('makes one account of many requests that complete a session at once', async () => {
      const session = await begin({ password: PASSWORD });
      const answers = await Promise.all(Array.from({ length: 6 }, () => finish(session)));
      expect(new Set(answers.map(({ body }) => `${body.user_id} ${body.access_token}`)).size).to.equal(1);
    });

    it('does not count a made-up session id for a completed one', async () => {
      const { status, body } = await finish('made-up', { username: 'made-up', password: PASSWORD });
      expect(status).to.equal(401);
      expect(body.session).to.be.a('string').and.not.equal('made-up');
      expect(await server.services.users.exists(`@made-up:${SERVER_NAME}`)).to.equal(false);
      expect((await finish(body.session)).body.user_id).to.equal(`@made-up:${SERVER_NAME}`);
    });

    it('makes a user of a guest when the guest was named in an earlier request', async () => {
      const { body: guest } = await server.request('POST', '/register?kind=guest', {});
      const username = guest.user_id.slice(1).split(':')[0];
      const members = { username, password: PASSWORD, guest_access_token: guest.access_token };
      const { status, body } = await finish(await begin(members), { username });
      expect([status, body.user_id]).to.deep.equal([200, guest.user_id]);
      expect((await server.services.users.account(guest.user_id))?.isGuest).to.equal(false);
    });
  });

  it('folds capitals', async () => {
    expect((await server.register({ username: 'CapiTals' })).body.user_id).to.equal(`@capitals:${SERVER_NAME}`);
  });

  for (const character of 'q3._=-/+') {
    it(`allows ${character} in usernames`, async () => {
      const { body } = await server.register({ username: `a${character}b` });
      expect(body.user_id).to.equal(`@a${character}b:${SERVER_NAME}`);
    });
  }

  for (const character of ['!', '"', ':', '?', '\\', '@', '[', ']', '{', '}', '|', '£', 'é', '\n', "'", ' ']) {
    it(`answers 400 M_INVALID_USERNAME for ${JSON.stringify(character)} in a username, before authentication`, async () => {
      const { status, body } = await server.request('POST', '/register', {
        username: `a${character}b`,
        password: PASSWORD,
      });
      expect([status, body.errcode]).to.deep.equal([400, 'M_INVALID_USERNAME']);
    });
  }

  it('answers 400 M_INVALID_USERNAME when the user id would be longer than 255 bytes', async () => {
    expect((await server.register({ username: 'x'.repeat(250) })).body.errcode).to.equal('M_INVALID_USERNAME');
  });

  it('answers 400 M_USER_IN_USE before authentication', async () => {
    await server.register({ username: 'taken' });
    const { status, body } = await server.request('POST', '/register', { username: 'TAKEN', password: PASSWORD });
    expect([status, body.errcode]).to.deep.equal([400, 'M_USER_IN_USE']);
  });

  it('gives a name to only one of many who ask for it at once', async () => {
    const answers = await Promise.all(Array.from({ length: 6 }, () => server.register({ username: 'contested' })));
    expect(answers.filter(({ status }) => status === 200)).to.have.length(1);
    expect(answers.filter(({ body }) => body.errcode === 'M_USER_IN_USE')).to.have.length(5);
  });

  it('makes up a name when none is asked for', async () => {
    const { status, body } = await server.register({ username: undefined });
    expect(status).to.equal(200);
    expect(body.user_id).to.match(new RegExp(`^@[a-z0-9]{12}:${SERVER_NAME}$`));
  });

  it('gives no token when inhibit_login is set', async () => {
    const { body } = await server.register({ username: 'inhibited', inhibit_login: true });
    expect(body).to.deep.equal({ user_id: `@inhibited:${SERVER_NAME}`, home_server: SERVER_NAME });
  });

  it('uses the device id that the client asks for', async () => {
    expect((await server.register({ device_id: 'MYDEVICE' })).body.device_id).to.equal('MYDEVICE');
  });

  it('answers 400 M_WEAK_PASSWORD for a short password', async () => {
    const { status, body } = await server.register({ password: 'short' });
    expect([status, body.errcode]).to.deep.equal([400, 'M_WEAK_PASSWORD']);
  });

  it('takes passwords in any script', async () => {
    const { body } = await server.register({ username: 'unicode', password: 'パスワードは秘密です' });
    expect((await server.logIn(body.user_id, { password: 'パスワードは秘密です' })).status).to.equal(200);
  });

  it('answers 400 M_MISSING_PARAM for a user without a password, and makes nothing', async () => {
    const { status, body } = await server.register({ username: 'no-password', password: undefined });
    expect([status, body.errcode]).to.deep.equal([400, 'M_MISSING_PARAM']);
    expect(await server.services.users.exists(`@no-password:${SERVER_NAME}`)).to.equal(false);
  });

  it('answers 401 for a stage that is not offered, with errcode and the flows again', async () => {
    const { status, body } = await server.register({ auth: { type: 'm.login.password', user: 'x', password: 'x' } });
    expect(status).to.equal(401);
    expect(body).to.include.all.keys('errcode', 'error', 'flows', 'params', 'session');
  });

  it('tells listeners of new accounts after they are there', async () => {
    const heard: string[] = [];
    const off = server.services.accountStream.on('registered', ({ account }) => {
      heard.push(account.userId);
    });
    await server.register({ username: 'heard' });
    off();
    expect(heard).to.deep.equal([`@heard:${SERVER_NAME}`]);
  });

  describe('of guests', () => {
    it('ignores everything but the display name of the device', async () => {
      const wishes = {
        username: 'guesty',
        device_id: 'WANTED',
        initial_device_display_name: 'Visitor',
        inhibit_login: true,
      };
      const { status, body } = await server.request('POST', '/register?kind=guest', wishes);
      expect(status).to.equal(200);
      expect(body.user_id).to.not.include('guesty');
      expect(body.device_id).to.be.a('string').and.not.equal('WANTED');
      const whoami = await server.request('GET', '/account/whoami', undefined, body.access_token);
      expect(whoami.body.is_guest).to.equal(true);
      const refused = await server.request('POST', '/account/password', { new_password: PASSWORD }, body.access_token);
      expect([refused.status, refused.body.errcode]).to.deep.equal([403, 'M_GUEST_ACCESS_FORBIDDEN']);
    });

    it('lets a guest become a user under the same user id', async () => {
      const { body: guest } = await server.request('POST', '/register?kind=guest', {});
      const username = guest.user_id.slice(1).split(':')[0];
      const stranger = await server.register({ username: 'somebody-else', guest_access_token: guest.access_token });
      expect(stranger.body.errcode).to.equal('M_INVALID_USERNAME');
      const { status, body } = await server.register({ username, guest_access_token: guest.access_token });
      expect(status).to.equal(200);
      expect(body.user_id).to.equal(guest.user_id);
      const whoami = await server.request('GET', '/account/whoami', undefined, guest.access_token);
      expect(whoami.body.is_guest).to.equal(false);
    });

    it('does not let a user be taken over with a token that is not a guest of that name', async () => {
      const { body: victim } = await server.register({ username: 'victim' });
      const attacker = (await server.register({ username: 'attacker' })).body;
      const { status } = await server.register({ username: 'victim', guest_access_token: attacker.access_token });
      expect(status).to.equal(403);
      expect(await server.isAlive(victim.access_token)).to.equal(true);
    });
  });

  describe('GET /register/available', () => {
    it('says yes for a free name, M_USER_IN_USE for a taken one and M_INVALID_USERNAME for an impossible one', async () => {
      await server.register({ username: 'occupied' });
      const free = await server.request('GET', '/register/available?username=nobody');
      expect([free.status, free.body]).to.deep.equal([200, { available: true }]);
      const taken = await server.request('GET', '/register/available?username=Occupied');
      expect([taken.status, taken.body.errcode]).to.deep.equal([400, 'M_USER_IN_USE']);
      const invalid = await server.request('GET', '/register/available?username=a%21b');
      expect([invalid.status, invalid.body.errcode]).to.deep.equal([400, 'M_INVALID_USERNAME']);
    });
  });

  describe('/_synapse/admin/v1/register', () => {
    const path = '/_synapse/admin/v1/register';
    const sign = (parts: string[], secret = SHARED_SECRET): string =>
      createHmac('sha1', secret).update(parts.join('\0')).digest('hex');
    const nonce = async (): Promise<string> => (await server.request('GET', path)).body.nonce;

    it('registers users and administrators, capitals folded', async () => {
      for (const admin of [true, false]) {
        const once = await nonce();
        const username = admin ? 'Admin-By-Secret' : 'plain-by-secret';
        const mac = sign([once, username, PASSWORD, admin ? 'admin' : 'notadmin']);
        const { status, body } = await server.request('POST', path, {
          nonce: once,
          username,
          password: PASSWORD,
          admin,
          mac,
        });
        expect(status).to.equal(200);
        expect(body).to.include({ user_id: `@${username.toLowerCase()}:${SERVER_NAME}`, home_server: SERVER_NAME });
        expect(await server.isAlive(body.access_token)).to.equal(true);
        expect((await server.services.users.account(body.user_id))?.admin).to.equal(admin);
      }
    });

    it('takes any password that an administrator gives, but none that could be read in two ways', async () => {
      for (const [username, password, expected] of [
        ['short-secret', 'x', 200],
        ['empty-secret', '', 400],
        ['long-secret', 'x'.repeat(513), 400],
        ['nul-secret', 'a\0b', 400],
      ] as const) {
        const once = await nonce();
        const mac = sign([once, username, password, 'notadmin']);
        const { body, status } = await server.request('POST', path, { nonce: once, username, password, mac });
        expect([status, body.errcode], username).to.deep.equal([
          expected,
          expected === 200 ? undefined : 'M_INVALID_PARAM',
        ]);
      }
    });

    it('signs the user type along when there is one', async () => {
      const once = await nonce();
      const mac = sign([once, 'a-bot', PASSWORD, 'notadmin', 'bot']);
      const { body } = await server.request('POST', path, {
        nonce: once,
        username: 'a-bot',
        password: PASSWORD,
        user_type: 'bot',
        mac,
      });
      expect((await server.services.users.account(body.user_id))?.userType).to.equal('bot');
    });

    it('knows no other types of users than tools do, and gives refresh tokens to those who ask', async () => {
      const once = await nonce();
      const robot = { nonce: once, username: 'a-robot', password: PASSWORD, user_type: 'robot' };
      const mac = sign([once, 'a-robot', PASSWORD, 'notadmin', 'robot']);
      const { body, status } = await server.request('POST', path, { ...robot, mac });
      expect([status, body.error]).to.deep.equal([400, 'Invalid user type']);
      const again = await nonce();
      const answer = await server.request('POST', path, {
        nonce: again,
        username: 'refreshing',
        password: PASSWORD,
        admin: null,
        user_type: null,
        displayname: 'Refreshing Person',
        refresh_token: true,
        mac: sign([again, 'refreshing', PASSWORD, 'notadmin']),
      });
      expect(answer.status).to.equal(200);
      expect(answer.body.refresh_token).to.be.a('string');
      expect(answer.body.expires_in_ms).to.be.a('number');
      const { body: profile } = await server.request('GET', `/profile/${answer.body.user_id}`);
      expect(profile.displayname).to.equal('Refreshing Person');
    });

    it('answers 403 "HMAC incorrect" for a wrong HMAC, and when admin was not signed for', async () => {
      for (const signedAs of ['admin', 'notadmin']) {
        const once = await nonce();
        const mac = sign([once, 'forged', PASSWORD, signedAs], signedAs === 'admin' ? 'another secret' : SHARED_SECRET);
        const { status, body } = await server.request('POST', path, {
          nonce: once,
          username: 'forged',
          password: PASSWORD,
          admin: true,
          mac,
        });
        expect([status, body.error]).to.deep.equal([403, 'HMAC incorrect']);
      }
      expect(await server.services.users.exists(`@forged:${SERVER_NAME}`)).to.equal(false);
    });

    it('answers 400 "User ID already taken" for a name in use', async () => {
      await server.register({ username: 'was-here' });
      const once = await nonce();
      const mac = sign([once, 'was-here', PASSWORD, 'notadmin']);
      const { status, body } = await server.request('POST', path, {
        nonce: once,
        username: 'was-here',
        password: PASSWORD,
        mac,
      });
      expect([status, body.errcode]).to.deep.equal([400, 'M_USER_IN_USE']);
      expect(body.error).to.include('User ID already taken');
    });

    it('takes a nonce once, and not after a minute', async () => {
      const once = await nonce();
      const request = {
        nonce: once,
        username: 'nonce-user',
        password: PASSWORD,
        mac: sign([once, 'nonce-user', PASSWORD, 'notadmin']),
      };
      expect((await server.request('POST', path, request)).status).to.equal(200);
      expect((await server.request('POST', path, request)).body.error).to.equal('unrecognised nonce');
      const late = await nonce();
      await server.clock.advance(60_001);
      const mac = sign([late, 'too-late', PASSWORD, 'notadmin']);
      expect(
        (await server.request('POST', path, { ...request, nonce: late, username: 'too-late', mac })).status,
      ).to.equal(400);
    });
  });
});

describe('registration that is restricted', () => {
  let server: AccountsServer;
  afterEach(() => server.stop());

  it('answers 403 M_FORBIDDEN when it is closed, for guests too when they are not allowed', async () => {
    server = await AccountsServer.start({
      registration: { enabled: false, guests: false },
      sharedSecret: undefined,
    });
    for (const path of ['/register', '/register?kind=guest']) {
      const { status, body } = await server.request('POST', path, { username: 'x', password: PASSWORD });
      expect([status, body.errcode]).to.deep.equal([403, 'M_FORBIDDEN']);
    }
    const validity = await server.request(
      'GET',
      '/_matrix/client/v1/register/m.login.registration_token/validity?token=x',
    );
    expect(validity.status).to.equal(403);
    expect((await server.request('GET', '/_synapse/admin/v1/register')).status).to.equal(400);
  });

  it('is closed rather than open when a verified mail address is required', async () => {
    server = await AccountsServer.start({ registration: { requiresEmail: true } });
    const { status, body } = await server.register();
    expect([status, body.errcode]).to.deep.equal([403, 'M_FORBIDDEN']);
  });

  it('asks for a registration token, and counts its uses when accounts are made', async () => {
    server = await AccountsServer.start({ registration: { requiresToken: true } });
    await server.tokens.create(OPERATOR, { token: 'one-use', usesAllowed: 1 });
    const validity = async (token: string): Promise<boolean> =>
      (await server.request('GET', `/_matrix/client/v1/register/m.login.registration_token/validity?token=${token}`))
        .body.valid;
    expect(await validity('one-use')).to.equal(true);
    expect(await validity('unknown')).to.equal(false);

    const open = await server.request('POST', '/register', { username: 'a', password: PASSWORD });
    expect(open.body.flows).to.deep.equal([{ stages: ['m.login.registration_token'] }]);
    const wrong = await server.register({
      username: 'a',
      auth: { type: 'm.login.registration_token', token: 'unknown' },
    });
    expect([wrong.status, wrong.body.errcode]).to.deep.equal([401, 'M_UNAUTHORIZED']);
    expect(wrong.body.flows).to.be.an('array');

    const auth = { type: 'm.login.registration_token', token: 'one-use' };
    const answers = await Promise.all(['b', 'c', 'd'].map((username) => server.register({ username, auth })));
    expect(answers.filter(({ status }) => status === 200)).to.have.length(1);
    expect(await validity('one-use')).to.equal(false);
  });

  it('does not let one completed authentication make two accounts', async () => {
    server = await AccountsServer.start({ registration: { requiresToken: true } });
    await server.tokens.create(OPERATOR, { token: 'many' });
    const { body } = await server.request('POST', '/register', { password: PASSWORD });
    const auth = { type: 'm.login.registration_token', token: 'many', session: body.session };
    const first = await server.request('POST', '/register', { password: PASSWORD, auth });
    expect(first.status).to.equal(200);
    for (const repeated of [auth, { session: body.session }]) {
      const again = await server.request('POST', '/register', { password: PASSWORD, auth: repeated });
      expect(again.body).to.deep.equal(first.body);
    }
    expect(await server.services.database.query(sql('test_accounts', 'select user_id from accounts'))).to.deep.equal([
      { user_id: first.body.user_id },
    ]);
  });

  it('does not take a token that has expired', async () => {
    server = await AccountsServer.start({ registration: { requiresToken: true } });
    await server.tokens.create(OPERATOR, { token: 'short-lived', expiryTs: server.clock.now() + 1000 });
    await server.clock.advance(1000);
    const { status } = await server.register({ auth: { type: 'm.login.registration_token', token: 'short-lived' } });
    expect(status).to.equal(401);
  });

  it('limits registrations per address', async () => {
    server = await AccountsServer.start({ rateLimits: { registration: { perSecond: 0.1, burst: 2 } } });
    expect((await server.register()).status).to.equal(200);
    expect((await server.register()).status).to.equal(200);
    const { status, body } = await server.register();
    expect([status, body.errcode]).to.deep.equal([429, 'M_LIMIT_EXCEEDED']);
    expect(body.retry_after_ms).to.be.greaterThan(0);
  });
});

describe('the first administrator', () => {
  let server: AccountsServer;
  beforeEach(async () => {
    server = await AccountsServer.start({ registration: { enabled: false } });
  });
  afterEach(() => server.stop());

  it('is made with a link that is good until there is one', async () => {
    const token = (await server.services.firstAdmin.token()) as string;
    const page = await server.request('GET', `/_tsudoi/setup?token=${token}`);
    expect(page.status).to.equal(200);
    expect(page.body).to.include('<form');
    expect(page.headers.get('content-security-policy')).to.include("default-src 'none'");
    const members = { token, username: 'Boss', password: PASSWORD };
    expect((await server.request('POST', '/_tsudoi/setup', { ...members, password: 'x' })).body.errcode).to.equal(
      'M_WEAK_PASSWORD',
    );
    const { status, body } = await server.request('POST', '/_tsudoi/setup', members);
    expect([status, body]).to.deep.equal([200, { user_id: `@boss:${SERVER_NAME}` }]);
    expect((await server.services.users.account(body.user_id))?.admin).to.equal(true);
    expect((await server.logIn('boss')).status).to.equal(200);
    expect((await server.request('GET', `/_tsudoi/setup?token=${token}`)).status).to.equal(403);
    expect((await server.request('POST', '/_tsudoi/setup', { ...members, username: 'usurper' })).status).to.equal(403);
    expect(await server.services.firstAdmin.token()).to.equal(undefined);
  });

  it('is only one, when two have the link', async () => {
    const token = (await server.services.firstAdmin.token()) as string;
    const answers = await Promise.all(
      ['one', 'two'].map((username) =>
        server.request('POST', '/_tsudoi/setup', { token, username, password: PASSWORD }),
      ),
    );
    expect(answers.map(({ status }) => status).toSorted()).to.deep.equal([200, 403]);
  });

  it('is made once: the link does not come back to life when the administrator goes', async () => {
    for (const ways of ['by the link', 'otherwise']) {
      const token = (await server.services.firstAdmin.token()) as string;
      const link = { token, username: 'boss', password: PASSWORD };
      if (ways === 'by the link') expect((await server.request('POST', '/_tsudoi/setup', link)).status).to.equal(200);
      else {
        const made = await server.services.registration.registerByAdmin(
          OPERATOR,
          { username: 'boss', password: PASSWORD, admin: false },
          { inhibitLogin: true },
        );
        await server.services.userAdministration.setAdmin(OPERATOR, made.userId, true);
      }
      await server.services.accounts.deactivate(`@boss:${SERVER_NAME}`, false);
      const again = await server.request('POST', '/_tsudoi/setup', { ...link, username: 'usurper' });
      expect([ways, again.status]).to.deep.equal([ways, 403]);
      expect((await server.request('GET', `/_tsudoi/setup?token=${token}`)).status).to.equal(403);
      expect(await server.services.firstAdmin.token()).to.equal(undefined);
      await server.stop();
      server = await AccountsServer.start({ registration: { enabled: false } });
    }
  });

  it('is made once, too, where an operator made one in the database whom the link has met', async () => {
    const { database } = server.services;
    const { userId } = await server.services.registration.registerByAdmin(
      OPERATOR,
      { username: 'boss', password: PASSWORD, admin: false },
      { inhibitLogin: true },
    );
    const token = (await server.services.firstAdmin.token()) as string;
    const isAdmin = (is: boolean): Promise<unknown> =>
      database.query(sql('test_admin', 'update accounts set admin = $2 where user_id = $1'), [userId, is]);
    const setup = async (): Promise<number> =>
      (await server.request('POST', '/_tsudoi/setup', { token, username: 'usurper', password: PASSWORD })).status;
    await isAdmin(true);
    expect((await server.request('GET', `/_tsudoi/setup?token=${token}`)).status).to.equal(403);
    await isAdmin(false);
    expect(await setup()).to.equal(403);
    expect(await server.services.firstAdmin.token()).to.equal(undefined);
  });

  it('is not made with another token, nor before a token was given out', async () => {
    const attempt = (token: string) =>
      server.request('POST', '/_tsudoi/setup', { token, username: 'boss', password: PASSWORD });
    expect((await attempt('')).status).to.equal(403);
    const token = (await server.services.firstAdmin.token()) as string;
    for (const wrong of ['', 'x'.repeat(token.length), `${token}x`, 'ä'.repeat(token.length)]) {
      const { status, body } = await attempt(wrong);
      expect([status, body.errcode]).to.deep.equal([403, 'M_FORBIDDEN']);
    }
    expect((await server.request('GET', '/_tsudoi/setup')).status).to.equal(403);
  });
});
