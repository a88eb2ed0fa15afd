import { expect } from 'chai';
import { CLOSE_REASONS } from '#src/ws/close-codes.ts';
import { WEBSOCKET_PATH } from '#src/ws/web-socket-api.ts';
import { InProcessServer, type Json } from '#test/support/in-process-server.ts';
import { StreamClient } from '#test/ws/stream-client.ts';

const ADMIN = 'admin-root';
const ROOT = '@admin-root:test';
const WHOAMI = '/account/whoami';

describe('an administrator who acts as a user', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  let count = 0;
  const someone = async (): Promise<string> => {
    const name = `user-${(count += 1)}`;
    await server.account(name);
    return name;
  };
  const logInAs = async (name: string, body?: object, admin = ADMIN): Promise<string> =>
    (await server.must(admin, 'POST', `/_synapse/admin/v1/users/@${name}:test/login`, body)).access_token;
  const logins = async (name: string): Promise<Json[]> =>
    (await server.must(ADMIN, 'GET', `/_tsudoi/admin/v1/users/@${name}:test/logins`)).logins;
  const statusOf = async (token: string): Promise<number> => (await server.ask(token, 'GET', WHOAMI)).status;
  const entries = async (name: string): Promise<Json[]> =>
    (await server.services.auditLog.list({ target: `@${name}:test` }, { limit: 20 })).records.map(
      ({ actor, entry }) => [entry.action, actor.userId, entry.before, entry.after],
    );

  before(async () => {
    server = await InProcessServer.start();
    await server.account(ADMIN, 'admin-other');
  });
  after(() => server?.stop());

  it('does what the user may do, without a device, and without the user seeing it', async () => {
    const name = await someone();
    await server.session(`${name}/PHONE`);
    const devices = (await server.must(`${name}/PHONE`, 'GET', '/devices')).devices.length;
    const token = await logInAs(name, {});
    expect(await server.must(token, 'GET', WHOAMI)).to.deep.equal({ user_id: `@${name}:test`, is_guest: false });
    const room = (await server.must(token, 'POST', '/createRoom', {})).room_id;
    const event = await server.say(token, room, 'in the name of the user');
    const shown = await server.must(`${name}/PHONE`, 'GET', `/rooms/${room}/event/${encodeURIComponent(event)}`);
    expect(shown.sender).to.equal(`@${name}:test`);
    const { rooms } = await server.must(token, 'GET', '/sync');
    expect(Object.keys(rooms.join)).to.deep.equal([room]);
    await server.idle();
    expect((await server.must(`${name}/PHONE`, 'GET', '/devices')).devices).to.have.length(devices);
    const whois = await server.must(`${name}/PHONE`, 'GET', `/admin/whois/@${name}:test`);
    expect(Object.keys(whois.devices)).to.deep.equal(['PHONE']);
    expect((await server.ask(token, 'POST', '/keys/upload', {})).status).to.equal(400);
  });

  it('has transaction ids of their own in each session, so that nobody is answered with what another one sent', async () => {
    const name = await someone();
    const room = await server.room(name);
    const send = async (token: string): Promise<string> =>
      (await server.must(token, 'PUT', `/rooms/${room}/send/m.room.message/same`, { msgtype: 'm.text', body: 'x' }))
        .event_id;
    const [one, other] = [await logInAs(name), await logInAs(name, {}, 'admin-other')];
    const events = [await send(name), await send(one), await send(other)];
    expect(new Set(events).size).to.equal(3);
    expect([await send(name), await send(one), await send(other)]).to.deep.equal(events);
  });

  it('does not make the user look present', async () => {
    const name = await someone();
    const token = await logInAs(name);
    await server.must(token, 'GET', '/sync');
    await server.idle();
    expect((await server.must(name, 'GET', `/presence/@${name}:test/status`)).presence).to.equal('offline');
  });

  it('is shown to administrators, and told of in the audit log without the token', async () => {
    const name = await someone();
    const until = server.clock.now() + 60_000;
    const token = await logInAs(name, { valid_until_ms: until });
    const [login] = await logins(name);
    expect(login).to.deep.equal({
      id: login.id,
      admin: ROOT,
      created_ts: server.clock.now(),
      valid_until_ms: until,
    });
    expect(await entries(name)).to.deep.equal([
      ['user.login_as', ROOT, undefined, { id: login.id, valid_until_ms: until }],
    ]);
    expect(JSON.stringify(await logins(name))).not.to.include(token);
    await server.must(ADMIN, 'DELETE', `/_tsudoi/admin/v1/users/@${name}:test/logins/${login.id}`);
    expect(await statusOf(token)).to.equal(401);
    expect(await logins(name)).to.deep.equal([]);
    expect((await entries(name))[0]).to.deep.equal([
      'user.end_login_as',
      ROOT,
      { id: login.id, admin: ROOT },
      undefined,
    ]);
    const gone = await server.ask(ADMIN, 'DELETE', `/_tsudoi/admin/v1/users/@${name}:test/logins/${login.id}`);
    expect([gone.status, gone.body.errcode]).to.deep.equal([404, 'M_NOT_FOUND']);
  });

  it('can do so for the time that was asked for, and not longer', async () => {
    const name = await someone();
    const token = await logInAs(name, { valid_until_ms: server.clock.now() + 60_000 });
    await server.clock.advance(50_000);
    expect(await statusOf(token)).to.equal(200);
    await server.clock.advance(20_000);
    expect(await statusOf(token)).to.equal(401);
    expect(await logins(name)).to.deep.equal([]);
  });

  it('ends it by logging out with its token; what the user logs out does not end it', async () => {
    const name = await someone();
    const token = await logInAs(name);
    const kept = await logInAs(name);
    await server.must(token, 'POST', '/logout', {});
    expect(await statusOf(token)).to.equal(401);
    const { token: own } = await server.session(`${name}/OWN`);
    await server.must(own, 'POST', '/logout/all', {});
    expect(await statusOf(kept)).to.equal(200);
  });

  for (const [what, end] of [
    ['logs out everywhere', (admin: string) => server.must(admin, 'POST', '/logout/all', {})],
    [
      'is no administrator any more',
      (admin: string) => server.must(ADMIN, 'PUT', `/_synapse/admin/v1/users/@${admin}:test/admin`, { admin: false }),
    ],
    [
      'is locked',
      (admin: string) => server.must(ADMIN, 'PUT', `/_synapse/admin/v2/users/@${admin}:test`, { locked: true }),
    ],
    [
      'is suspended',
      (admin: string) => server.must(ADMIN, 'PUT', `/_synapse/admin/v1/suspend/@${admin}:test`, { suspend: true }),
    ],
    [
      'is deactivated',
      (admin: string) => server.must(ADMIN, 'POST', `/_synapse/admin/v1/deactivate/@${admin}:test`, {}),
    ],
  ] as const)
    it(`does so no longer once the administrator ${what}, also where a sync waits`, async () => {
      const name = await someone();
      const admin = `admin-${(count += 1)}`;
      await server.account(admin);
      const token = await logInAs(name, undefined, admin);
      const { next_batch: since } = await server.must(token, 'GET', '/sync');
      const waiting = server.ask(token, 'GET', `/sync?since=${since}&timeout=30000`);
      await end(admin);
      expect((await waiting).body.errcode).to.equal('M_UNKNOWN_TOKEN');
      expect(await statusOf(token)).to.equal(401);
      expect(await statusOf(name)).to.equal(200);
    });

  it('does so no longer once the account has come to its end', async () => {
    const name = await someone();
    const token = await logInAs(name);
    const { next_batch: since } = await server.must(token, 'GET', '/sync');
    const waiting = server.ask(token, 'GET', `/sync?since=${since}&timeout=30000`);
    await server.must(ADMIN, 'POST', `/_synapse/admin/v1/deactivate/@${name}:test`, {});
    expect((await waiting).body.errcode).to.equal('M_UNKNOWN_TOKEN');
    expect(await statusOf(token)).to.equal(401);
    const again = await server.ask(ADMIN, 'POST', `/_synapse/admin/v1/users/@${name}:test/login`, {});
    expect([again.status, again.body.errcode]).to.deep.equal([400, 'M_UNKNOWN']);
  });

  it('is the one whom the audit log names, even while acting as another administrator', async () => {
    const name = await someone();
    const token = await logInAs('admin-other');
    await server.must(token, 'PUT', `/_synapse/admin/v1/suspend/@${name}:test`, { suspend: true });
    expect((await entries(name))[0].slice(0, 2)).to.deep.equal(['user.suspend', ROOT]);
    const own = await server.ask(token, 'PUT', `/_synapse/admin/v1/suspend/${ROOT}`, { suspend: true });
    expect(own.status).to.equal(400);
  });

  it('loses the WebSocket with the session', async () => {
    const name = await someone();
    const token = await logInAs(name);
    const client = await StreamClient.open(server.url.replace('http', 'ws') + WEBSOCKET_PATH, { token });
    const [{ id }] = await logins(name);
    await server.must(ADMIN, 'DELETE', `/_tsudoi/admin/v1/users/@${name}:test/logins/${id}`);
    expect((await client.closed).code).to.equal(CLOSE_REASONS.tokenRevoked.code);
  });

  it('is refused for oneself, for nobody, for users of other servers, and for times that are over', async () => {
    const ask = async (user: string, body?: object): Promise<unknown> => {
      const { body: told, status } = await server.ask(ADMIN, 'POST', `/_synapse/admin/v1/users/${user}/login`, body);
      return [status, told.errcode];
    };
    expect(await ask(ROOT)).to.deep.equal([400, 'M_UNKNOWN']);
    expect(await ask('@nobody:test')).to.deep.equal([404, 'M_NOT_FOUND']);
    expect(await ask('@a:elsewhere.test')).to.deep.equal([400, 'M_UNKNOWN']);
    expect(await ask('@admin-other:test', { valid_until_ms: 5 })).to.deep.equal([400, 'M_UNKNOWN']);
    expect(await ask('@admin-other:test', { valid_until_ms: 'soon' })).to.deep.equal([400, 'M_BAD_JSON']);
  });

  it('has so many sessions at most: with one more the oldest ends', async () => {
    const name = await someone();
    const first = await logInAs(name);
    expect(await statusOf(first)).to.equal(200);
    for (let made = 1; made <= 100; made += 1) {
      await server.clock.advance(1);
      await logInAs(name);
    }
    expect(await logins(name)).to.have.length(100);
    expect(await statusOf(first)).to.equal(401);
  });
});
