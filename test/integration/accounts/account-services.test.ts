import { createHmac } from 'node:crypto';
import { expect } from 'chai';
import pg from 'pg';
import { ChildServer } from '#test/support/child-server.ts';
import { emptyDatabase } from '#test/support/database.ts';
import { type Answer, ask, must } from '#test/support/http.ts';

const PASSWORD = 'a long password';
const SECRET = 'north';

describe('what is done for accounts', function () {
  this.timeout(60_000);
  let server: ChildServer;
  let database: pg.Client;
  let admin: string;
  let alice: string;
  let bob: string;

  const register = async (name: string): Promise<string> => {
    const body = { username: name, password: PASSWORD, auth: { type: 'm.login.dummy' } };
    return (await must(server.url, 'POST', '/register', { body })).access_token;
  };
  const login = (user: string, more: object = {}): Promise<Answer> =>
    ask(server.url, 'POST', '/login', {
      body: { type: 'm.login.password', identifier: { type: 'm.id.user', user }, password: PASSWORD, ...more },
    });
  const get = (token: string | undefined, path: string): Promise<Answer> => ask(server.url, 'GET', path, { token });
  const send = (token: string | undefined, method: string, path: string, body: unknown = {}): Promise<Answer> =>
    ask(server.url, method, path, { token, body });
  const refused = async (answer: Promise<Answer>, status: number, errcode: string): Promise<void> => {
    const { status: actual, body } = await answer;
    expect([actual, body?.errcode]).to.deep.equal([status, errcode]);
  };

  before(async () => {
    const url = await emptyDatabase();
    server = await ChildServer.start({
      database: url,
      config: `turn:\n  uris: ['turn:turn.test?transport=udp']\n  shared_secret: ${SECRET}\n  lifetime_ms: 600000\n`,
    });
    database = new pg.Client({ connectionString: url });
    await database.connect();
    await register('root');
    await database.query("update accounts set admin = true where user_id = '@root:localhost'");
    admin = (await login('root')).body.access_token;
    alice = await register('alice');
    bob = await register('bob');
  });
  after(async () => {
    await database?.end();
    await server?.dispose();
  });

  it('gives TURN credentials by the shared secret', async () => {
    const { status, body } = await get(alice, '/voip/turnServer');
    expect(status).to.equal(200);
    expect(body).to.deep.include({ uris: ['turn:turn.test?transport=udp'], ttl: 600 });
    expect(body.username).to.match(/^\d+:@alice:localhost$/);
    expect(Number(body.username.split(':')[0]) - Date.now() / 1000).to.be.within(500, 601);
    expect(body.password).to.equal(createHmac('sha1', SECRET).update(body.username).digest('base64'));
  });

  it('gives OpenID tokens for oneself only, and stores no token in clear', async () => {
    const { status, body } = await send(alice, 'POST', '/user/@alice:localhost/openid/request_token');
    expect(status).to.equal(200);
    expect(body).to.deep.include({ token_type: 'Bearer', matrix_server_name: 'localhost', expires_in: 3600 });
    const { rows } = await database.query('select user_id, token_hash, expires_ts from openid_tokens');
    expect(rows).to.have.length(1);
    expect(rows[0].user_id).to.equal('@alice:localhost');
    expect(rows[0].token_hash.toString('latin1')).not.to.include(body.access_token);
    expect(Number(rows[0].expires_ts) - Date.now()).to.be.within(3_500_000, 3_600_000);
    await refused(send(alice, 'POST', '/user/@bob:localhost/openid/request_token'), 403, 'M_FORBIDDEN');
    await refused(get(body.access_token, '/account/whoami'), 401, 'M_UNKNOWN_TOKEN');
  });

  it('knows no third-party protocols', async () => {
    expect((await get(alice, '/thirdparty/protocols')).body).to.deep.equal({});
    for (const path of ['protocol/irc', 'location/irc', 'user/irc'])
      await refused(get(alice, `/thirdparty/${path}`), 404, 'M_NOT_FOUND');
    expect((await get(alice, '/thirdparty/location?alias=%23a:b')).body).to.deep.equal([]);
    expect((await get(alice, '/thirdparty/user?userid=@a:b')).body).to.deep.equal([]);
    await refused(get(alice, '/thirdparty/user'), 400, 'M_MISSING_PARAM');
    await refused(get(undefined, '/thirdparty/protocols'), 401, 'M_MISSING_TOKEN');
  });

  it('lists no third-party identifiers, as nobody has any', async () => {
    expect((await get(alice, '/account/3pid')).body).to.deep.equal({ threepids: [] });
  });

  describe('pushers', () => {
    const pusher = {
      kind: 'http',
      app_id: 'test.app',
      pushkey: 'key 1',
      app_display_name: 'App',
      device_display_name: 'Phone',
      profile_tag: 'tag',
      lang: 'ja',
      data: { url: 'https://push.test/_matrix/push/v1/notify', format: 'event_id_only', own: { a: 1 } },
    };
    const set = (token: string, changes: object = {}): Promise<Answer> =>
      send(token, 'POST', '/pushers/set', { ...pusher, ...changes });
    const list = async (token: string): Promise<{ pushkey: string }[]> =>
      (await get(token, '/pushers')).body.pushers.map(
        ({ device_id: _id, enabled: _enabled, ...rest }: Record<string, unknown>) => {
          const { 'org.matrix.msc3881.device_id': _sameId, 'org.matrix.msc3881.enabled': _same, ...more } = rest;
          return more;
        },
      );

    it('are made, changed and deleted', async () => {
      expect((await set(alice)).status).to.equal(200);
      expect(await list(alice)).to.deep.equal([pusher]);
      await set(alice, { lang: 'en' });
      expect(await list(alice)).to.deep.equal([{ ...pusher, lang: 'en' }]);
      await send(alice, 'POST', '/pushers/set', { kind: null, app_id: 'test.app', pushkey: 'key 1' });
      expect(await list(alice)).to.deep.equal([]);
      expect((await send(alice, 'POST', '/pushers/set', { kind: null, app_id: 'x', pushkey: 'y' })).status).to.equal(
        200,
      );
    });
    it('are refused when something is missing or wrong', async () => {
      const { lang: _lang, ...incomplete } = pusher;
      await refused(send(alice, 'POST', '/pushers/set', incomplete), 400, 'M_MISSING_PARAM');
      await refused(set(alice, { data: {} }), 400, 'M_MISSING_PARAM');
      await refused(set(alice, { kind: 'carrier pigeon' }), 400, 'M_INVALID_PARAM');
      await refused(set(alice, { kind: 'email' }), 400, 'M_INVALID_PARAM');
      await refused(set(alice, { app_id: 'x'.repeat(65) }), 400, 'M_INVALID_PARAM');
      await refused(set(alice, { pushkey: 'é'.repeat(257) }), 400, 'M_INVALID_PARAM');
      for (const url of ['nonsense', 'https://push.test/elsewhere', 'ftp://push.test/_matrix/push/v1/notify'])
        await refused(set(alice, { data: { url } }), 400, 'M_INVALID_PARAM');
      expect(await list(alice)).to.deep.equal([]);
    });
    it('go to https gateways, and in plain text only to one on the same machine', async () => {
      const to = (host: string): Promise<Answer> => set(alice, { data: { url: `${host}/_matrix/push/v1/notify` } });
      for (const host of ['http://push.test', 'http://192.168.1.5:8080', 'http://ntfy', 'http://127.0.0.1.push.test'])
        await refused(to(host), 400, 'M_INVALID_PARAM');
      await refused(set(alice, { data: { url: 'https://push.test/_matrix/push/v1/notify/' } }), 400, 'M_INVALID_PARAM');
      for (const host of [
        'https://push.test:8443',
        'http://localhost:5000',
        'http://127.0.0.1:5000',
        'http://[::1]:5000',
      ])
        expect((await to(host)).status, host).to.equal(200);
      await send(alice, 'POST', '/pushers/set', { ...pusher, kind: null });
    });
    it('take the pushkey over from other users, unless they append', async () => {
      await set(alice);
      await set(bob, { append: true });
      expect(await list(alice)).to.have.length(1);
      await set(bob);
      expect(await list(alice)).to.deep.equal([]);
      expect(await list(bob)).to.have.length(1);
    });
    it('are of one user where two want the same pushkey at once', async () => {
      for (let round = 0; round < 10; round++) {
        const both = await Promise.all([alice, bob].map((token) => set(token, { pushkey: `shared ${round}` })));
        expect(both.map(({ status }) => status)).to.deep.equal([200, 200]);
      }
      const keys = [...(await list(alice)), ...(await list(bob))].map(({ pushkey }) => pushkey);
      const shared = keys.filter((pushkey) => pushkey.startsWith('shared '));
      expect(shared).to.have.length(10);
      await database.query(`delete from pushers where pushkey like 'shared %'`);
    });
    it('end with the device that turned them to another gateway, not with the one that made them', async () => {
      const own = (await login('alice', { device_id: 'OWN' })).body.access_token;
      const stolen = (await login('alice', { device_id: 'STOLEN' })).body.access_token;
      await set(own, { pushkey: 'turned' });
      await set(stolen, { pushkey: 'turned', data: { url: 'https://evil.test/_matrix/push/v1/notify' } });
      await set(own, { pushkey: 'silenced' });
      await set(stolen, { pushkey: 'silenced', enabled: false });
      await send(stolen, 'POST', '/logout');
      const left = (await list(own)).map(({ pushkey }) => pushkey);
      expect(left).to.include('silenced').and.not.include('turned');
      await send(own, 'POST', '/logout');
    });
    it('end with the session of their device; a changed password keeps those of the caller', async () => {
      const phone = (await login('alice', { device_id: 'PHONE' })).body.access_token;
      const tablet = (await login('alice', { device_id: 'TABLET' })).body.access_token;
      await set(phone, { pushkey: 'phone' });
      await set(tablet, { pushkey: 'tablet' });
      await set(alice, { pushkey: 'own' });
      await send(phone, 'POST', '/logout');
      expect((await list(alice)).map(({ pushkey }) => pushkey)).to.deep.equal(['tablet', 'own']);
      const auth = { type: 'm.login.password', identifier: { type: 'm.id.user', user: 'alice' }, password: PASSWORD };
      expect((await send(alice, 'POST', '/account/password', { new_password: PASSWORD, auth })).status).to.equal(200);
      expect((await list(alice)).map(({ pushkey }) => pushkey)).to.deep.equal(['own']);
    });
  });

  describe('login tokens', () => {
    const auth = { type: 'm.login.password', identifier: { type: 'm.id.user', user: 'alice' }, password: PASSWORD };
    const issue = (body: object): Promise<Answer> => send(alice, 'POST', '/_matrix/client/v1/login/get_token', body);
    const redeem = (token: string): Promise<Answer> =>
      send(undefined, 'POST', '/login', { type: 'm.login.token', token });

    it('log a further client in, once', async () => {
      const challenge = await issue({});
      expect([challenge.status, challenge.body.flows]).to.deep.equal([401, [{ stages: ['m.login.password'] }]]);
      const { body } = await issue({ auth: { ...auth, session: challenge.body.session } });
      expect(body.expires_in_ms).to.equal(120_000);
      const session = await redeem(body.login_token);
      expect([session.status, session.body.user_id]).to.deep.equal([200, '@alice:localhost']);
      expect((await get(session.body.access_token, '/account/whoami')).status).to.equal(200);
      await refused(redeem(body.login_token), 403, 'M_FORBIDDEN');
    });
    it('are spent by the login that they are for, in one commit: not by one that fails, and not by two', async () => {
      const { login_token: token } = (await issue({ auth })).body;
      const login = (more: object): Promise<Answer> =>
        send(undefined, 'POST', '/login', { type: 'm.login.token', token, ...more });
      await refused(login({ device_id: 'x'.repeat(10_000) }), 400, 'M_INVALID_PARAM');
      const answers = await Promise.all(Array.from({ length: 8 }, (_, n) => login({ device_id: `RACE${n}` })));
      expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).to.deep.equal([
        200,
        ...Array.from({ length: 7 }, () => 403),
      ]);
      const { devices } = (await get(alice, '/devices')).body;
      const made = devices.filter(({ device_id: id }: { device_id: string }) => id.startsWith('RACE'));
      expect(made).to.have.lengthOf(1);
    });
    it('need an authentication each', async () => {
      const { session } = (await issue({})).body;
      const { login_token: token } = (await issue({ auth: { ...auth, session } })).body;
      expect((await issue({ auth: { session } })).body.login_token, 'of one authentication').to.equal(token);
      expect((await issue({})).status).to.equal(401);
    });
    it('bring nobody back whose devices were all logged out, or whose password was changed', async () => {
      const session = (await login('alice', { device_id: 'LEAVING' })).body.access_token;
      const issued = async (): Promise<string> =>
        (await send(session, 'POST', '/_matrix/client/v1/login/get_token', { auth })).body.login_token;
      const changed = { new_password: PASSWORD, logout_devices: true, auth };
      const before = await issued();
      expect((await send(session, 'POST', '/account/password', changed)).status).to.equal(200);
      await refused(redeem(before), 403, 'M_FORBIDDEN');
      const last = await issued();
      expect((await send(session, 'POST', '/logout/all')).status).to.equal(200);
      await refused(redeem(last), 403, 'M_FORBIDDEN');
      alice = (await login('alice')).body.access_token;
    });
    it('end after two minutes', async () => {
      const { login_token: token } = (await issue({ auth })).body;
      await database.query('update login_tokens set expires_ts = expires_ts - 121000');
      await refused(redeem(token), 403, 'M_FORBIDDEN');
    });
    it('are offered and advertised', async () => {
      const { flows } = (await get(undefined, '/login')).body;
      expect(flows).to.deep.include({ type: 'm.login.token', get_login_token: true });
      expect((await get(alice, '/capabilities')).body.capabilities['m.get_login_token']).to.deep.equal({
        enabled: true,
      });
      await refused(send(undefined, 'POST', '/login', { type: 'm.login.token' }), 400, 'M_MISSING_PARAM');
    });
  });

  describe('whois', () => {
    it('tells users of their own devices, and administrators of everybody', async () => {
      const own = await get(bob, '/admin/whois/@bob:localhost');
      expect(own.body.user_id).to.equal('@bob:localhost');
      expect(Object.keys(own.body.devices)).to.have.length(1);
      const [device] = Object.values<{ sessions: { connections: { ip: string }[] }[] }>(own.body.devices);
      expect(device?.sessions[0]?.connections[0]?.ip).to.equal('127.0.0.1');
      expect((await get(admin, '/admin/whois/@bob:localhost')).body.devices).to.have.keys(
        Object.keys(own.body.devices),
      );
      await refused(get(bob, '/admin/whois/@alice:localhost'), 403, 'M_FORBIDDEN');
    });
  });

  describe('moderation', () => {
    const path = (what: string, userId: string): string => `/_matrix/client/v1/admin/${what}/${userId}`;
    for (const [what, member] of [
      ['lock', 'locked'],
      ['suspend', 'suspended'],
    ] as const) {
      it(`of accounts (${what}) is for administrators, and not about each other`, async () => {
        await refused(get(bob, path(what, '@nobody:localhost')), 403, 'M_FORBIDDEN');
        await refused(send(bob, 'PUT', path(what, '@alice:localhost'), { [member]: true }), 403, 'M_FORBIDDEN');
        await refused(get(admin, path(what, '@nobody:localhost')), 404, 'M_NOT_FOUND');
        await refused(get(admin, path(what, '@bob:elsewhere.test')), 400, 'M_INVALID_PARAM');
        await refused(send(admin, 'PUT', path(what, '@root:localhost'), { [member]: true }), 403, 'M_FORBIDDEN');
        await refused(send(admin, 'PUT', path(what, '@bob:localhost'), { [member]: 'yes' }), 400, 'M_BAD_JSON');
        expect((await get(admin, path(what, '@bob:localhost'))).body).to.deep.equal({ [member]: false });
        expect((await send(admin, 'PUT', path(what, '@bob:localhost'), { [member]: true })).body).to.deep.equal({
          [member]: true,
        });
        expect((await get(admin, path(what, '@bob:localhost'))).body).to.deep.equal({ [member]: true });
        if (what === 'lock') await refused(get(bob, '/account/whoami'), 401, 'M_USER_LOCKED');
        await send(admin, 'PUT', path(what, '@bob:localhost'), { [member]: false });
        expect((await get(bob, '/account/whoami')).status).to.equal(200);
      });
    }
    it('is a capability of administrators', async () => {
      const moderation = async (token: string): Promise<unknown> =>
        (await get(token, '/capabilities')).body.capabilities['m.account_moderation'];
      expect(await moderation(admin)).to.deep.equal({ lock: true, suspend: true });
      expect(await moderation(bob)).to.equal(undefined);
    });

    it('lets suspended users read and leave, and refuses them all that others would notice, and the removal of their addresses', async () => {
      const roomId = (await must(server.url, 'POST', '/createRoom', { token: alice, body: { preset: 'public_chat' } }))
        .room_id;
      const other = (
        await must(server.url, 'POST', '/createRoom', { token: alice, body: { invite: ['@bob:localhost'] } })
      ).room_id;
      await must(server.url, 'POST', `/join/${roomId}`, { token: bob, body: {} });
      const say = (token: string, txn: string): Promise<Answer> =>
        send(token, 'PUT', `/rooms/${roomId}/send/m.room.message/${txn}`, { msgtype: 'm.text', body: txn });
      const own = (await say(bob, 'own')).body.event_id;
      const own2 = (await say(bob, 'own2')).body.event_id;
      const foreign = (await say(alice, 'foreign')).body.event_id;
      // Power to redact, so that only the suspension stands in the way.
      const levels = (await get(alice, `/rooms/${roomId}/state/m.room.power_levels`)).body;
      await must(server.url, 'PUT', `/rooms/${roomId}/state/m.room.power_levels`, {
        token: alice,
        body: { ...levels, redact: 0 },
      });
      await send(admin, 'PUT', path('suspend', '@bob:localhost'), { suspended: true });
      const id = encodeURIComponent;
      for (const answer of [
        say(bob, 'more'),
        send(bob, 'PUT', `/rooms/${roomId}/send/m.room.redaction/r0`, { redacts: foreign }),
        send(bob, 'PUT', `/rooms/${roomId}/redact/${id(foreign)}/r1`),
        send(bob, 'PUT', `/rooms/${roomId}/state/m.room.member/@bob:localhost`, {
          membership: 'join',
          displayname: 'B',
        }),
        send(bob, 'POST', `/join/${other}`),
        send(bob, 'POST', `/rooms/${other}/join`),
        send(bob, 'POST', `/knock/${other}`),
        send(bob, 'POST', '/createRoom'),
        send(bob, 'POST', `/rooms/${roomId}/invite`, { user_id: '@root:localhost' }),
        send(bob, 'PUT', '/profile/@bob:localhost/displayname', { displayname: 'B' }),
        send(bob, 'PUT', '/presence/@bob:localhost/status', { presence: 'online', status_msg: 'Read this' }),
        send(bob, 'PUT', `/rooms/${roomId}/typing/@bob:localhost`, { typing: true }),
        send(bob, 'POST', `/rooms/${roomId}/upgrade`, { new_version: '11' }),
        send(bob, 'PUT', '/directory/room/%23b:localhost', { room_id: roomId }),
        send(bob, 'POST', '/user/@bob:localhost/openid/request_token'),
        send(bob, 'POST', '/account/3pid/delete', { medium: 'email', address: 'bob@mail.test' }),
      ]) {
        await refused(answer, 403, 'M_USER_SUSPENDED');
      }
      for (const ask of [
        () => get(bob, '/sync'),
        () => get(bob, `/rooms/${roomId}/messages?dir=b`),
        () => login('bob'),
        () => send(bob, 'PUT', `/rooms/${roomId}/redact/${id(own)}/r2`),
        () => send(bob, 'PUT', `/rooms/${roomId}/send/m.room.redaction/r3`, { redacts: own2 }),
        () => send(bob, 'POST', `/rooms/${other}/leave`),
        () => send(bob, 'POST', `/rooms/${roomId}/leave`),
      ]) {
        expect((await ask()).status).to.equal(200);
      }
      await send(admin, 'PUT', path('suspend', '@bob:localhost'), { suspended: false });
      expect((await send(bob, 'POST', `/join/${roomId}`)).status).to.equal(200);
    });
  });
});
