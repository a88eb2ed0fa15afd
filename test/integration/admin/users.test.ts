import { expect } from 'chai';
import { WEBSOCKET_PATH } from '#src/ws/web-socket-api.ts';
import { InProcessServer, type Json } from '#test/support/in-process-server.ts';
import { StreamClient } from '#test/ws/stream-client.ts';

const ADMIN = 'admin-root';
const ROOT = '@admin-root:test';
const PASSWORD = 'a long password';

/** What tools ask of accounts, over HTTP. */
class Administration {
  readonly server: InProcessServer;

  constructor(server: InProcessServer) {
    this.server = server;
  }

  must(method: string, path: string, body?: object): Promise<Json> {
    return this.server.must(ADMIN, method, `/_synapse/admin/${path}`, body);
  }

  async answer(method: string, path: string, body?: object): Promise<readonly [number, Json]> {
    const answer = await this.server.ask(ADMIN, method, `/_synapse/admin/${path}`, body);
    return [answer.status, answer.status < 300 ? answer.body : answer.body.errcode];
  }

  async put(name: string, wish: object): Promise<readonly [number, Json]> {
    return this.answer('PUT', `v2/users/@${name}:test`, wish);
  }

  /** The entries that the audit log has of a user, the newest first. */
  async entries(userId: string): Promise<readonly Json[]> {
    const { records } = await this.server.services.auditLog.list({ target: userId }, { limit: 50 });
    return records.map(({ actor, entry }) => [entry.action, entry.before, entry.after, actor.userId, actor.via]);
  }

  logIn(name: string, password: string): Promise<{ status: number; body: Json }> {
    const login = { type: 'm.login.password', identifier: { type: 'm.id.user', user: name }, password };
    return this.server.ask(undefined, 'POST', '/login', login);
  }
}

describe('administrators make accounts and change them', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  let admin: Administration;
  before(async () => {
    server = await InProcessServer.start({ config: { registration: { sharedSecret: 'secret' } } });
    admin = new Administration(server);
    await server.account(ADMIN);
  });
  after(() => server?.stop());

  it('with all that an account can have, in one request, answered 201', async () => {
    const [status, user] = await admin.put('alice', {
      password: PASSWORD,
      displayname: 'Alice Marigold',
      avatar_url: 'mxc://example.com/abcde12345',
      threepids: [{ medium: 'email', address: 'alice@mail.test' }],
      external_ids: [{ auth_provider: 'oidc-x', external_id: 'a/1:2@3' }],
      admin: true,
      user_type: 'support',
      approved: true,
    });
    expect(status).to.equal(201);
    expect(user).to.deep.include({
      name: '@alice:test',
      displayname: 'Alice Marigold',
      avatar_url: 'mxc://example.com/abcde12345',
      external_ids: [{ auth_provider: 'oidc-x', external_id: 'a/1:2@3' }],
      admin: true,
      user_type: 'support',
      deactivated: false,
      locked: false,
    });
    expect(user.threepids.map(({ address }: Json) => address)).to.deep.equal(['alice@mail.test']);
    expect((await admin.logIn('alice', PASSWORD)).status).to.equal(200);
    const found = await admin.must('GET', `v1/auth_providers/oidc-x/users/${encodeURIComponent('a/1:2@3')}`);
    expect(found).to.deep.equal({ user_id: '@alice:test' });
    expect(await server.must('alice', 'GET', '/profile/@alice:test')).to.include({ displayname: 'Alice Marigold' });
  });

  it('and what they do not name stays as it is, answered 200', async () => {
    const [, before] = await admin.answer('GET', 'v2/users/@alice:test');
    const [status, user] = await admin.put('alice', { displayname: 'A. Marigold' });
    expect([status, user]).to.deep.equal([200, { ...before, displayname: 'A. Marigold' }]);
    expect((await admin.put('alice', {}))[1]).to.deep.equal(user);
    const [, bare] = await admin.put('alice', {
      displayname: '',
      avatar_url: '',
      user_type: null,
      threepids: [],
      external_ids: [],
      admin: false,
    });
    expect(bare).to.deep.include({
      displayname: null,
      avatar_url: null,
      user_type: null,
      threepids: [],
      external_ids: [],
      admin: false,
    });
    expect((await admin.logIn('alice', PASSWORD)).status).to.equal(200);
  });

  it('and each change is told once in the audit log, with what was and what is, and no password', async () => {
    await admin.put('bella', { password: PASSWORD, displayname: 'Bella' });
    await admin.put('bella', { displayname: 'Bella B.', locked: true });
    await admin.put('bella', { displayname: 'Bella B.', locked: true });
    await admin.put('bella', { locked: false, password: 'another password' });
    const entries = await admin.entries('@bella:test');
    expect(entries).to.deep.equal([
      ['user.change', { locked: true }, { locked: false, password: 'set', logout_devices: true }, ROOT, 'http'],
      ['user.change', { displayname: 'Bella', locked: false }, { displayname: 'Bella B.', locked: true }, ROOT, 'http'],
      [
        'user.create',
        undefined,
        { admin: false, user_type: null, has_password: true, displayname: 'Bella' },
        ROOT,
        'http',
      ],
    ]);
    for (const secret of [PASSWORD, 'another password', 'argon2'])
      expect(JSON.stringify(entries)).not.to.include(secret);
  });

  it('or nothing of what they ask for, when part of it cannot be', async () => {
    await admin.put('carl', { threepids: [{ medium: 'email', address: 'carl@mail.test' }] });
    await admin.put('carl', { external_ids: [{ auth_provider: 'p', external_id: '1' }] });
    for (const [wish, status, errcode] of [
      [{ threepids: [{ medium: 'email', address: 'carl@mail.test' }] }, 400, 'M_THREEPID_IN_USE'],
      [{ threepids: [{ medium: 'pigeon', address: 'x' }] }, 400, 'M_THREEPID_MEDIUM_NOT_SUPPORTED'],
      [{ threepids: [{ medium: 'email' }] }, 400, 'M_BAD_JSON'],
      [{ external_ids: [{ auth_provider: 'p', external_id: '1' }] }, 409, 'M_UNKNOWN'],
      [{ external_ids: [{ external_id: '1' }] }, 400, 'M_BAD_JSON'],
      [{ user_type: 'robot' }, 400, 'M_UNKNOWN'],
      [{ admin: 'yes' }, 400, 'M_BAD_JSON'],
      [{ password: 7 }, 400, 'M_BAD_JSON'],
      [{ password: '' }, 400, 'M_INVALID_PARAM'],
      [{ password: 'x'.repeat(513) }, 400, 'M_INVALID_PARAM'],
      [{ deactivated: true, locked: true }, 400, 'M_UNKNOWN'],
      [{ displayname: 'x'.repeat(1_000) }, 400, 'M_INVALID_PARAM'],
    ] as const) {
      expect(await admin.put('dora', { ...wish, avatar_url: 'mxc://test/x' }), JSON.stringify(wish)).to.deep.equal([
        status,
        errcode,
      ]);
    }
    expect(await admin.answer('GET', 'v2/users/@dora:test')).to.deep.equal([404, 'M_NOT_FOUND']);
    expect(await admin.put('dora', {})).to.have.property('0', 201);
    expect(await admin.put('dora', { avatar_url: 'mxc://test/x', user_type: 'robot' })).to.deep.equal([
      400,
      'M_UNKNOWN',
    ]);
    expect(
      await admin.put('dora', { avatar_url: 'mxc://test/x', external_ids: [{ auth_provider: 'p', external_id: '1' }] }),
    ).to.deep.equal([409, 'M_UNKNOWN']);
    expect((await admin.answer('GET', 'v2/users/@dora:test'))[1].avatar_url).to.equal(null);
    expect(await server.must(ADMIN, 'GET', '/profile/@dora:test')).to.deep.equal({});
  });

  it('but none with a name that no account may have, and none of other servers', async () => {
    expect(await admin.put('Capital', {})).to.deep.equal([400, 'M_INVALID_USERNAME']);
    expect(await admin.put('with%20space', {})).to.deep.equal([400, 'M_INVALID_USERNAME']);
    expect(await admin.answer('PUT', 'v2/users/@a:elsewhere.test', {})).to.deep.equal([400, 'M_UNKNOWN']);
    expect(await admin.answer('PUT', 'v2/users/a', {})).to.deep.equal([400, 'M_INVALID_PARAM']);
  });

  it('and a new password logs out all devices, unless it is not to', async () => {
    await admin.put('emil', { password: PASSWORD });
    const token = (await admin.logIn('emil', PASSWORD)).body.access_token;
    await admin.put('emil', { password: 'a new password', logout_devices: false });
    expect((await server.ask(token, 'GET', '/account/whoami')).status).to.equal(200);
    await admin.put('emil', { password: 'a newer password' });
    expect((await server.ask(token, 'GET', '/account/whoami')).status).to.equal(401);
    expect((await admin.logIn('emil', 'a new password')).status).to.equal(403);
    expect((await admin.logIn('emil', 'a newer password')).status).to.equal(200);
    const again = (await admin.logIn('emil', 'a newer password')).body.access_token;
    await admin.must('POST', 'v1/reset_password/@emil:test', { new_password: 'set anew, kept', logout_devices: false });
    expect((await server.ask(again, 'GET', '/account/whoami')).status).to.equal(200);
    await admin.must('POST', 'v1/reset_password/@emil:test', { new_password: 'set anew, ended' });
    expect((await server.ask(again, 'GET', '/account/whoami')).status).to.equal(401);
    expect((await admin.logIn('emil', 'set anew, ended')).status).to.equal(200);
    expect(await admin.answer('POST', 'v1/reset_password/@emil:test', {})).to.deep.equal([400, 'M_MISSING_PARAM']);
    expect(await admin.answer('POST', 'v1/reset_password/@nobody:test', { new_password: PASSWORD })).to.deep.equal([
      404,
      'M_NOT_FOUND',
    ]);
    expect((await admin.entries('@emil:test')).slice(0, 1)).to.deep.equal([
      ['user.reset_password', undefined, { logout_devices: true }, ROOT, 'http'],
    ]);
  });

  it('and their own new password leaves them the device that they are at', async () => {
    await server.account('admin-second');
    const here = await server.session('admin-second/HERE');
    const there = await server.session('admin-second/THERE');
    await server.must(here.token, 'PUT', '/_synapse/admin/v2/users/@admin-second:test', { password: PASSWORD });
    expect((await server.ask(here.token, 'GET', '/account/whoami')).status).to.equal(200);
    expect((await server.ask(there.token, 'GET', '/account/whoami')).status).to.equal(401);
  });

  it('as administrators of this server, but not themselves', async () => {
    await server.account('fritz');
    expect(await admin.answer('PUT', 'v1/users/@fritz:test/admin', { admin: true })).to.deep.equal([200, {}]);
    expect(await admin.must('GET', 'v1/users/@fritz:test/admin')).to.deep.equal({ admin: true });
    expect((await server.ask('fritz', 'GET', '/_synapse/admin/v2/users')).status).to.equal(200);
    await admin.must('PUT', 'v1/users/@fritz:test/admin', { admin: false });
    expect((await server.ask('fritz', 'GET', '/_synapse/admin/v2/users')).body.errcode).to.equal('M_FORBIDDEN');
    expect(await admin.answer('PUT', `v1/users/${ROOT}/admin`, { admin: false })).to.deep.equal([400, 'M_UNKNOWN']);
    for (const wish of [{ admin: false }, { deactivated: true }, { locked: true }])
      expect(await admin.put(ADMIN, wish)).to.deep.equal([400, 'M_UNKNOWN']);
    expect(await admin.answer('POST', `v1/deactivate/${ROOT}`, {})).to.deep.equal([400, 'M_UNKNOWN']);
    expect(await admin.answer('PUT', `v1/suspend/${ROOT}`, { suspend: true })).to.deep.equal([400, 'M_UNKNOWN']);
    expect(await admin.answer('PUT', 'v1/users/@nobody:test/admin', { admin: true })).to.deep.equal([
      404,
      'M_NOT_FOUND',
    ]);
    expect((await admin.entries('@fritz:test')).map(([action]) => action)).to.deep.equal([
      'user.demote',
      'user.promote',
    ]);
  });

  it('and end them: nobody can use them any more, and their users leave all rooms', async () => {
    await admin.put('gerda', { password: PASSWORD, threepids: [{ medium: 'email', address: 'gerda@mail.test' }] });
    const { access_token: token } = (await admin.logIn('gerda', PASSWORD)).body;
    const room = (await server.must(token, 'POST', '/createRoom', { preset: 'public_chat' })).room_id;
    await server.join('bob', room);
    expect(await admin.answer('POST', 'v1/deactivate/@gerda:test', { erase: false })).to.deep.equal([
      200,
      { id_server_unbind_result: 'success' },
    ]);
    await server.idle();
    expect((await server.ask(token, 'GET', '/account/whoami')).status).to.equal(401);
    expect((await admin.logIn('gerda', PASSWORD)).status).to.equal(403);
    const { joined } = await server.must('bob', 'GET', `/rooms/${room}/joined_members`);
    expect(Object.keys(joined)).to.deep.equal(['@bob:test']);
    const [, user] = await admin.answer('GET', 'v2/users/@gerda:test');
    expect(user).to.deep.include({ deactivated: true, erased: false, threepids: [] });
    expect((await admin.entries('@gerda:test'))[0]).to.deep.equal([
      'user.deactivate',
      { deactivated: false, erased: false },
      { deactivated: true, erased: false },
      ROOT,
      'http',
    ]);
    expect(await admin.answer('POST', 'v1/deactivate/@gerda:test')).to.have.property('0', 200);
    expect(await admin.answer('POST', 'v1/deactivate/@gerda:test', { erase: true })).to.have.property('0', 200);
    expect((await admin.answer('GET', 'v2/users/@gerda:test'))[1].erased).to.equal(true);
    expect(await admin.answer('POST', 'v1/deactivate/@nobody:test', {})).to.deep.equal([404, 'M_NOT_FOUND']);
  });

  it('and bring them back, with a new password and without what they had', async () => {
    await admin.put('hans', { password: PASSWORD });
    await admin.put('hans', { deactivated: true });
    await server.idle();
    expect((await admin.logIn('hans', PASSWORD)).status).to.equal(403);
    expect((await admin.put('hans', { displayname: 'Hans' }))[1].deactivated).to.equal(true);
    const [status, user] = await admin.put('hans', { deactivated: false, password: 'a new password' });
    expect([status, user.deactivated]).to.deep.equal([200, false]);
    expect((await admin.logIn('hans', PASSWORD)).status).to.equal(403);
    expect((await admin.logIn('hans', 'a new password')).status).to.equal(200);
    await server.idle();
    const { body } = await admin.logIn('hans', 'a new password');
    expect((await server.ask(body.access_token, 'POST', '/createRoom', {})).status).to.equal(200);
  });

  it('and give them limits of their own: no limit at all for 0 messages per second', async () => {
    const path = 'v1/users/@bob:test/override_ratelimit';
    expect(await admin.must('GET', path)).to.deep.equal({});
    const own = { messages_per_second: 5, burst_count: 7 };
    expect(await admin.must('POST', path, own)).to.deep.equal(own);
    expect(await admin.must('GET', path)).to.deep.equal(own);
    expect(await admin.must('POST', path)).to.deep.equal({ messages_per_second: 0, burst_count: 0 });
    expect(await admin.must('DELETE', path)).to.deep.equal({});
    expect(await admin.must('GET', path)).to.deep.equal({});
    for (const wrong of [
      { messages_per_second: -1 },
      { burst_count: 1.5 },
      { messages_per_second: '5' },
      { burst_count: 2 ** 40 },
    ])
      expect(await admin.answer('POST', path, wrong), JSON.stringify(wrong)).to.deep.equal([400, 'M_INVALID_PARAM']);
    const none = 'v1/users/@nobody:test/override_ratelimit';
    for (const method of ['GET', 'POST', 'DELETE'])
      expect(await admin.answer(method, none), method).to.deep.equal([404, 'M_NOT_FOUND']);
    expect((await admin.entries('@bob:test')).map(([action]) => action)).to.deep.equal([
      'user.default_ratelimit',
      'user.override_ratelimit',
      'user.override_ratelimit',
    ]);
  });

  it('and let users replace cross-signing keys without a password, if they have any', async () => {
    const path = (name: string): string => `v1/users/@${name}:test/_allow_cross_signing_replacement_without_uia`;
    expect(await admin.answer('POST', path('bob'), {})).to.deep.equal([404, 'M_NOT_FOUND']);
    expect(await admin.answer('POST', path('nobody'), {})).to.deep.equal([404, 'M_NOT_FOUND']);
  });
});

describe('administrators and the devices of users', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  let admin: Administration;
  const path = 'v2/users/@alice:test/devices';
  before(async () => {
    server = await InProcessServer.start();
    admin = new Administration(server);
    await server.account(ADMIN, 'bob');
    await server.session('alice/PHONE');
  });
  after(() => server?.stop());

  it('list them with all that is known of each, make them, and rename them', async () => {
    await server.must('alice/PHONE', 'GET', '/account/whoami');
    expect(await admin.answer('POST', path, { device_id: 'MADE' })).to.deep.equal([201, {}]);
    expect(await admin.answer('POST', path, { device_id: 'MADE' })).to.deep.equal([201, {}]);
    expect(await admin.answer('PUT', `${path}/MADE`, { display_name: 'a bridge' })).to.deep.equal([200, {}]);
    expect(await admin.answer('PUT', `${path}/MADE`)).to.deep.equal([200, {}]);
    const { devices, total } = await admin.must('GET', path);
    expect(total).to.equal(2);
    const unseen = { last_seen_ip: null, last_seen_user_agent: null, last_seen_ts: null };
    const made = { device_id: 'MADE', display_name: 'a bridge', user_id: '@alice:test' };
    expect(devices.find((one: Json) => one.device_id === 'MADE')).to.deep.equal({
      ...made,
      ...unseen,
      dehydrated: false,
    });
    const { last_seen_user_agent: agent, ...phone } = await admin.must('GET', `${path}/PHONE`);
    expect(phone).to.deep.equal({
      device_id: 'PHONE',
      display_name: null,
      user_id: '@alice:test',
      last_seen_ip: '127.0.0.1',
      last_seen_ts: server.clock.now(),
    });
    expect(agent).to.equal('node');
    expect(await admin.answer('GET', `${path}/NONE`)).to.deep.equal([404, 'M_NOT_FOUND']);
    expect(await admin.answer('PUT', `${path}/NONE`, { display_name: 'x' })).to.deep.equal([404, 'M_NOT_FOUND']);
    expect(await admin.answer('POST', path, {})).to.deep.equal([400, 'M_MISSING_PARAM']);
    expect(await admin.answer('POST', path, { device_id: '' })).to.have.property('0', 400);
    expect((await admin.entries('@alice:test')).map(([action]) => action)).to.deep.equal([
      'device.rename',
      'device.create',
    ]);
  });

  it('delete them, and their tokens are dead at once, also those that a sync waits with', async () => {
    await server.session('alice/TABLET');
    const phone = await server.session('alice/PHONE');
    const { next_batch: since } = await server.must(phone.token, 'GET', '/sync');
    const waiting = server.ask(phone.token, 'GET', `/sync?since=${since}&timeout=30000`);
    expect(await admin.answer('DELETE', `${path}/PHONE`, {})).to.deep.equal([200, {}]);
    expect((await waiting).body.errcode).to.equal('M_UNKNOWN_TOKEN');
    expect((await server.ask(phone.token, 'GET', '/account/whoami')).status).to.equal(401);
    expect(await admin.answer('DELETE', `${path}/PHONE`, {})).to.deep.equal([200, {}]);
    const many = { devices: ['TABLET', 'MADE', 'NONE'] };
    expect(await admin.answer('POST', 'v2/users/@alice:test/delete_devices', many)).to.deep.equal([200, {}]);
    expect(await admin.must('GET', path)).to.deep.equal({ devices: [], total: 0 });
    expect((await admin.entries('@alice:test')).slice(0, 2)).to.deep.equal([
      ['device.delete', { device_ids: ['MADE', 'TABLET'] }, undefined, ROOT, 'http'],
      ['device.delete', { device_ids: ['PHONE'] }, undefined, ROOT, 'http'],
    ]);
    expect(await admin.answer('POST', 'v2/users/@alice:test/delete_devices', {})).to.deep.equal([
      400,
      'M_MISSING_PARAM',
    ]);
    expect(await admin.answer('POST', 'v2/users/@nobody:test/delete_devices', many)).to.deep.equal([
      404,
      'M_NOT_FOUND',
    ]);
  });
});

describe('an account that an administrator stops', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  let admin: Administration;
  let count = 0;
  before(async () => {
    server = await InProcessServer.start();
    admin = new Administration(server);
    await server.account(ADMIN);
  });
  after(() => server?.stop());

  for (const [what, stop, errcode] of [
    ['locked', (name: string) => admin.put(name, { locked: true }), 'M_USER_LOCKED'],
    ['deactivated', (name: string) => admin.answer('POST', `v1/deactivate/@${name}:test`, {}), 'M_UNKNOWN_TOKEN'],
    [
      'locked by the specification',
      (name: string) => server.must(ADMIN, 'PUT', `/v1/admin/lock/@${name}:test`, { locked: true }),
      'M_USER_LOCKED',
    ],
  ] as const)
    it(`is ${what} at once, also where a sync waits and where a WebSocket is open`, async () => {
      const name = `user-${(count += 1)}`;
      const { token } = await server.session(name);
      // A sync that waits is woken by what follows from the new device, and from the first sync: that the user is there.
      await server.must(token, 'GET', '/sync');
      await server.idle();
      const { next_batch: since } = await server.must(token, 'GET', '/sync');
      const waiting = server.ask(token, 'GET', `/sync?since=${since}&timeout=30000`);
      const polled = server.ask(token, 'GET', `/events?from=${since}&timeout=30000`);
      const socket = await StreamClient.open(server.url.replace('http', 'ws') + WEBSOCKET_PATH, { token });
      await stop(name);
      await socket.closed;
      expect((await waiting).body, JSON.stringify((await waiting).body)).to.have.property('errcode', errcode);
      expect((await polled).body.errcode).to.equal(errcode);
      expect((await server.ask(token, 'GET', '/account/whoami')).body.errcode).to.equal(errcode);
    });

  it('may be looked up, for where it was used: by its user without a trace, by administrators with one', async () => {
    await server.must('berta/PHONE', 'GET', '/account/whoami');
    const own = await server.must('berta/PHONE', 'GET', '/_synapse/admin/v1/whois/@berta:test');
    const [{ connections }] = own.devices[''].sessions;
    expect(connections).to.have.length(1);
    expect(connections[0]).to.include({ ip: '127.0.0.1', last_seen: server.clock.now() });
    expect(await admin.entries('@berta:test')).to.deep.equal([]);
    expect(await admin.must('GET', 'v1/whois/@berta:test')).to.deep.equal(own);
    const bySpecification = await server.must(ADMIN, 'GET', '/admin/whois/@berta:test');
    expect(Object.keys(bySpecification.devices)).to.deep.equal(['PHONE']);
    expect((await admin.entries('@berta:test')).map(([action]) => action)).to.deep.equal(['user.whois', 'user.whois']);
    const other = await server.ask('berta/PHONE', 'GET', `/_synapse/admin/v1/whois/${ROOT}`);
    expect([other.status, other.body.errcode]).to.deep.equal([403, 'M_FORBIDDEN']);
    expect(await admin.answer('GET', 'v1/whois/@a:elsewhere.test')).to.deep.equal([400, 'M_UNKNOWN']);
    expect(await admin.must('GET', 'v1/whois/@nobody:test')).to.deep.equal({
      user_id: '@nobody:test',
      devices: { '': { sessions: [{ connections: [] }] } },
    });
  });

  it('has the experimental features that there are, as everybody has', async () => {
    const path = `v1/experimental_features/${ROOT}`;
    expect(await admin.must('GET', path)).to.deep.equal({ features: { msc3881: true, msc3575: true, msc4222: true } });
    expect(await admin.answer('PUT', path, { features: { msc3881: true } })).to.deep.equal([200, {}]);
    for (const features of [{ msc3881: false }, { msc1: true }, {}])
      expect(await admin.answer('PUT', path, { features })).to.deep.equal([400, 'M_UNKNOWN']);
    expect(await admin.answer('GET', 'v1/experimental_features/@a:elsewhere.test')).to.deep.equal([400, 'M_UNKNOWN']);
  });

  it('is suspended or free again, by the routes of tools and of the specification alike, each with its entry', async () => {
    await server.account('anna');
    expect(await admin.answer('PUT', 'v1/suspend/@anna:test', { suspend: true })).to.deep.equal([
      200,
      { 'user_@anna:test_suspended': true },
    ]);
    expect(await server.must(ADMIN, 'GET', '/v1/admin/suspend/@anna:test')).to.deep.equal({ suspended: true });
    expect((await server.ask('anna', 'POST', '/createRoom', {})).body.errcode).to.equal('M_USER_SUSPENDED');
    await server.must(ADMIN, 'PUT', '/v1/admin/suspend/@anna:test', { suspended: false });
    expect((await admin.answer('GET', 'v2/users/@anna:test'))[1].suspended).to.equal(false);
    await server.must(ADMIN, 'PUT', '/v1/admin/lock/@anna:test', { locked: true });
    await server.must(ADMIN, 'PUT', '/v1/admin/lock/@anna:test', { locked: false });
    expect(await admin.entries('@anna:test')).to.deep.equal([
      ['user.unlock', { locked: true }, { locked: false }, ROOT, 'http'],
      ['user.lock', { locked: false }, { locked: true }, ROOT, 'http'],
      ['user.unsuspend', { suspended: true }, { suspended: false }, ROOT, 'http'],
      ['user.suspend', { suspended: false }, { suspended: true }, ROOT, 'http'],
    ]);
    expect(await admin.answer('PUT', 'v1/suspend/@nobody:test', { suspend: true })).to.deep.equal([404, 'M_NOT_FOUND']);
    expect(await admin.answer('PUT', 'v1/suspend/@a:elsewhere.test', { suspend: true })).to.deep.equal([
      400,
      'M_UNKNOWN',
    ]);
    expect(await admin.answer('PUT', 'v1/suspend/@anna:test', {})).to.deep.equal([400, 'M_MISSING_PARAM']);
  });
});
