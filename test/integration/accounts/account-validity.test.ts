import { expect } from 'chai';
import { InProcessServer, type Json } from '#test/support/in-process-server.ts';

const DAY = 86_400_000;
const PERIOD = 30 * DAY;
const PASSWORD = 'a long password';
const SECRET = 'a secret of the operator';

describe('accounts that have to be renewed', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  beforeEach(async () => {
    server = await InProcessServer.start({
      config: {
        accountValidity: { enabled: true, periodMs: PERIOD },
        registration: { sharedSecret: SECRET },
        sessions: { accessTokenLifetimeMs: 365 * DAY },
      },
    });
  });
  afterEach(() => server?.stop());

  const whoami = async (token: string): Promise<unknown> => {
    const { status, body } = await server.ask(token, 'GET', '/account/whoami');
    return [status, body.errcode];
  };
  const register = (username: string): Promise<Json> =>
    server.must(undefined, 'POST', '/register', { username, password: PASSWORD, auth: { type: 'm.login.dummy' } });
  const EXPIRED = [403, 'ORG_MATRIX_EXPIRED_ACCOUNT'];
  const GOOD = [200, undefined];
  const page = (userId: string, token: string, method: 'GET' | 'POST'): Promise<Response> => {
    const link = new URLSearchParams({ user_id: userId, token });
    const url = `${server.url}/_tsudoi/account/renew`;
    return method === 'GET' ? fetch(`${url}?${link}`) : fetch(url, { method: 'POST', body: link });
  };

  it('can be used for their time and not after it, but to log out; what was kept for them stays', async () => {
    const { access_token: token, user_id: userId } = await register('alice');
    expect(await server.services.accountValidity.of(userId)).to.equal(server.clock.now() + PERIOD);
    server.clock.set(PERIOD - 1);
    expect(await whoami(token)).to.deep.equal(GOOD);
    server.clock.set(1);
    expect(await whoami(token)).to.deep.equal(EXPIRED);
    for (const [method, path, body] of [
      ['GET', '/sync'],
      ['PUT', `/profile/${userId}/displayname`, { displayname: 'x' }],
      ['POST', '/createRoom', {}],
    ] as const) {
      const answer = await server.ask(token, method, path, body);
      expect([answer.status, answer.body.errcode], path).to.deep.equal(EXPIRED);
    }
    // A new session is as good as the old ones.
    const login = { type: 'm.login.password', identifier: { type: 'm.id.user', user: 'alice' }, password: PASSWORD };
    const second = (await server.must(undefined, 'POST', '/login', login)).access_token;
    expect(await whoami(second)).to.deep.equal(EXPIRED);
    await server.must(second, 'POST', '/logout', {});
    expect(await whoami(second)).to.deep.equal([401, 'M_UNKNOWN_TOKEN']);
    const renew = { user_id: userId };
    await server.must('admin-root', 'POST', '/_synapse/admin/v1/account_validity/validity', renew);
    expect(await whoami(token)).to.deep.equal(GOOD);
  });

  it('are renewed by a link, once, by the button of its page, before and after they expire', async () => {
    const { access_token: token, user_id: userId } = await register('alice');
    const link = await server.services.accountValidity.renewalToken(userId);
    server.clock.set(PERIOD + DAY);
    expect(await whoami(token)).to.deep.equal(EXPIRED);
    // Looking at the page, as programs that look at mails do, renews nothing.
    const shown = await page(userId, link!, 'GET');
    expect(shown.status).to.equal(200);
    expect(await shown.text()).to.include('name="token"');
    expect(await whoami(token)).to.deep.equal(EXPIRED);
    expect((await page(userId, link!, 'POST')).status).to.equal(200);
    expect(await whoami(token)).to.deep.equal(GOOD);
    expect(await server.services.accountValidity.of(userId)).to.equal(server.clock.now() + PERIOD);
    for (const method of ['GET', 'POST'] as const) expect((await page(userId, link!, method)).status).to.equal(403);
    const next = await server.services.accountValidity.renewalToken(userId);
    server.clock.set(DAY);
    expect((await page(userId, next!, 'POST')).status).to.equal(200);
    expect(await server.services.accountValidity.of(userId)).to.equal(server.clock.now() + PERIOD);
  });

  it('are not renewed by the link of another account, or by none', async () => {
    const alice = await register('alice');
    await register('bob');
    const link = await server.services.accountValidity.renewalToken('@bob:test');
    for (const [userId, token] of [
      [alice.user_id, link!],
      [alice.user_id, ''],
      [alice.user_id, `${link}x`],
      ['@nobody:test', link!],
      ['<script>', link!],
      ['@alice:elsewhere', link!],
    ] as const)
      for (const method of ['GET', 'POST'] as const) {
        const answer = await page(userId, token, method);
        expect(answer.status, `${method} ${userId}`).to.equal(403);
        expect(await answer.text()).not.to.include('<script>');
      }
    await server.services.accounts.deactivate('@bob:test', false);
    expect((await page('@bob:test', link!, 'POST')).status).to.equal(403);
  });

  it('are given their time by administrators, who have none themselves', async () => {
    const { access_token: token, user_id: userId } = await register('alice');
    const path = '/_synapse/admin/v1/account_validity/validity';
    const renew = (body: object): Promise<Json> =>
      server.must('admin-root', 'POST', path, { user_id: userId, ...body });
    const expires = server.clock.now() + DAY;
    expect(await renew({ expiration_ts: expires })).to.deep.equal({ expiration_ts: expires });
    expect(await server.services.accountValidity.of(userId)).to.equal(expires);
    server.clock.set(DAY);
    expect(await whoami(token)).to.deep.equal(EXPIRED);
    expect(await whoami('admin-root')).to.deep.equal(GOOD);
    server.clock.set(2 * PERIOD);
    expect(await whoami('admin-root')).to.deep.equal(GOOD);
    expect(await renew({})).to.deep.equal({ expiration_ts: server.clock.now() + PERIOD });
    expect(await whoami(token)).to.deep.equal(GOOD);
    for (const [body, errcode] of [
      [{}, 'M_MISSING_PARAM'],
      [{ user_id: userId, expiration_ts: -1 }, 'M_BAD_JSON'],
      [{ user_id: userId, expiration_ts: 'soon' }, 'M_BAD_JSON'],
      [{ user_id: '@nobody:test' }, 'M_NOT_FOUND'],
    ] as const)
      expect((await server.ask('admin-root', 'POST', path, body)).body.errcode).to.equal(errcode);
    const other = await server.ask(token, 'POST', path, { user_id: userId });
    expect([other.status, other.body.errcode]).to.deep.equal([403, 'M_FORBIDDEN']);
    const { records } = await server.services.auditLog.list({ target: userId }, { limit: 10 });
    expect(records.map(({ entry }) => [entry.action, entry.before, entry.after])[1]).to.deep.equal([
      'user.set_validity',
      { expiration_ts: expires - DAY + PERIOD, mails: true },
      { expiration_ts: expires, mails: true },
    ]);
  });

  it('do not expire as guests', async () => {
    const { access_token: token } = (await server.ask(undefined, 'POST', '/register?kind=guest', {})).body;
    server.clock.set(3 * PERIOD);
    expect(await whoami(token)).to.deep.equal(GOOD);
  });
});

describe('accounts that were there before accounts had to be renewed', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  afterEach(() => server?.stop());

  it('get their time when the server starts, not all the same', async () => {
    const config = { accountValidity: { enabled: false, periodMs: PERIOD } };
    server = await InProcessServer.start({ config });
    const names = Array.from({ length: 20 }, (_, n) => `user-${n}`);
    await server.account(...names, 'guest-one');
    const { accountValidity } = server.services;
    expect(await accountValidity.of('@user-0:test')).to.equal(null);
    server.clock.set(10 * PERIOD);
    expect((await server.ask('user-0', 'GET', '/account/whoami')).status).to.equal(200);
    config.accountValidity.enabled = true;
    await server.restart();
    const now = server.clock.now();
    const times = await Promise.all(names.map((name) => server.services.accountValidity.of(`@${name}:test`)));
    for (const time of times) expect(time).to.be.within(now + 0.9 * PERIOD, now + PERIOD);
    expect(new Set(times).size).to.be.greaterThan(1);
    expect(await server.services.accountValidity.of('@guest-one:test')).to.equal(null);
    // Once: the next start changes nothing.
    await server.restart();
    expect(await server.services.accountValidity.of('@user-0:test')).to.equal(times[0]);
  });
});
