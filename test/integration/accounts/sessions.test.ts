import { OPERATOR } from '#src/services/audit/actor.ts';
import * as argon2 from '@node-rs/argon2';
import { expect } from 'chai';
import type { RateLimit } from '#src/kernel/limits/rate-limiter.ts';
import type { SessionEnded } from '#src/services/accounts/stream/account-stream.ts';
import { type Argon2, PasswordHasher } from '#src/services/accounts/credentials/password-hasher.ts';
import { sql } from '#src/storage/database.ts';
import { findCredentials } from '#src/storage/accounts/accounts.ts';
import type { Answer } from '#test/support/http.ts';
import { AccountsServer, PASSWORD, passwordAuth, SERVER_NAME } from './accounts-server.ts';

describe('logging in and out', () => {
  let server: AccountsServer;
  before(async () => {
    server = await AccountsServer.start({ publicBaseUrl: 'https://matrix.tsudoi.test' });
  });
  after(() => server.stop());

  it('offers logging in with a password', async () => {
    const { body } = await server.request('GET', '/login');
    expect(body.flows).to.deep.include({ type: 'm.login.password' });
  });

  it('logs in by localpart, by user id, with capitals, and by the older member user', async () => {
    await server.register({ username: 'ways' });
    const userId = `@ways:${SERVER_NAME}`;
    for (const user of ['ways', userId, 'WAYS', `@Ways:${SERVER_NAME}`]) {
      const { status, body } = await server.logIn(user);
      expect([status, body.user_id]).to.deep.equal([200, userId]);
    }
    const older = await server.request('POST', '/login', {
      type: 'm.login.password',
      user: 'ways',
      password: PASSWORD,
    });
    expect(older.body.user_id).to.equal(userId);
    expect(older.body.well_known).to.deep.equal({ 'm.homeserver': { base_url: 'https://matrix.tsudoi.test' } });
  });

  it('answers 403 M_FORBIDDEN alike for a wrong password, an unknown user and a user of another server', async () => {
    await server.register({ username: 'alike' });
    const answers = [
      await server.logIn('alike', { password: 'not the password' }),
      await server.logIn('nobody-of-that-name'),
      await server.logIn('@alike:elsewhere.test'),
    ];
    for (const { status, body } of answers) expect([status, body]).to.deep.equal([403, answers[0]?.body]);
    expect(answers[0]?.body.errcode).to.equal('M_FORBIDDEN');
  });

  it('answers 400 M_UNKNOWN for an unknown type, and 403 for a third-party identifier nobody has', async () => {
    const unknown = await server.request('POST', '/login', { type: 'm.login.telepathy' });
    expect([unknown.status, unknown.body.errcode]).to.deep.equal([400, 'M_UNKNOWN']);
    const identifier = { type: 'm.id.thirdparty', medium: 'email', address: 'a@b.test' };
    const email = await server.request('POST', '/login', { type: 'm.login.password', identifier, password: PASSWORD });
    expect([email.status, email.body.errcode]).to.deep.equal([403, 'M_FORBIDDEN']);
  });

  it('answers 400 when password or user are missing', async () => {
    const noPassword = await server.request('POST', '/login', { type: 'm.login.password', user: 'ways' });
    expect([noPassword.status, noPassword.body.errcode]).to.deep.equal([400, 'M_MISSING_PARAM']);
    const noUser = await server.request('POST', '/login', { type: 'm.login.password', password: PASSWORD });
    expect([noUser.status, noUser.body.errcode]).to.deep.equal([400, 'M_MISSING_PARAM']);
  });

  it('kills the old token of a device that logs in again, and keeps its name', async () => {
    const { body: first } = await server.register({ device_id: 'AGAIN', initial_device_display_name: 'first' });
    const heard: SessionEnded[] = [];
    const off = server.services.accountStream.on('session_ended', (event) => {
      heard.push(event);
    });
    const { body: second } = await server.logIn(first.user_id, {
      device_id: 'AGAIN',
      initial_device_display_name: 'second',
    });
    off();
    expect(second.device_id).to.equal('AGAIN');
    const dead = await server.request('GET', '/account/whoami', undefined, first.access_token);
    expect([dead.status, dead.body.errcode, dead.body.soft_logout]).to.deep.equal([401, 'M_UNKNOWN_TOKEN', false]);
    expect(heard).to.deep.equal([
      { kind: 'session_ended', userId: first.user_id, deviceId: 'AGAIN', reason: 'replaced' },
    ]);
    const { body: device } = await server.request('GET', '/devices/AGAIN', undefined, second.access_token);
    expect(device.display_name).to.equal('first');
  });

  it('logs out one device with its token and leaves the others', async () => {
    const { body: first } = await server.register();
    const { body: second } = await server.logIn(first.user_id);
    expect((await server.request('POST', '/logout', undefined, first.access_token)).status).to.equal(200);
    expect(await server.isAlive(first.access_token)).to.equal(false);
    const { body } = await server.request('GET', '/devices', undefined, second.access_token);
    expect(body.devices.map((device: { device_id: string }) => device.device_id)).to.deep.equal([second.device_id]);
  });

  it('logs out all devices', async () => {
    const { body: first } = await server.register();
    const { body: second } = await server.logIn(first.user_id);
    await server.request('POST', '/logout/all', {}, first.access_token);
    expect(await server.isAlive(first.access_token)).to.equal(false);
    expect(await server.isAlive(second.access_token)).to.equal(false);
    expect((await server.logIn(first.user_id)).status).to.equal(200);
  });

  it('answers M_MISSING_TOKEN without a token and M_UNKNOWN_TOKEN for made-up and tampered ones', async () => {
    const { body } = await server.register();
    expect((await server.request('GET', '/account/whoami')).body.errcode).to.equal('M_MISSING_TOKEN');
    const [header, payload, signature] = body.access_token.split('.');
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString());
    const forged = Buffer.from(JSON.stringify({ ...claims, sub: '@admin:tsudoi.test' })).toString('base64url');
    const none = Buffer.from('{"alg":"none","typ":"JWT"}').toString('base64url');
    for (const token of [
      'nonsense',
      'a.b.c',
      `${header}.${forged}.${signature}`,
      `${none}.${payload}.`,
      `${header}.${payload}.`,
    ]) {
      const answer = await server.request('GET', '/account/whoami', undefined, token);
      expect([answer.status, answer.body.errcode]).to.deep.equal([401, 'M_UNKNOWN_TOKEN']);
    }
  });

  it('keeps locked accounts out of everything but logging out, and their sessions alive', async () => {
    const { body } = await server.register();
    const { body: other } = await server.logIn(body.user_id);
    const locked: string[] = [];
    server.services.accountStream.on('changed', ({ userId, changes }) => {
      if (changes.locked === true) locked.push(userId);
    });
    await server.services.userAdministration.lock(OPERATOR, body.user_id, true);
    const refused = await server.request('GET', '/account/whoami', undefined, body.access_token);
    expect(refused.status).to.equal(401);
    expect(refused.body).to.include({ errcode: 'M_USER_LOCKED', soft_logout: true });
    expect((await server.logIn(body.user_id)).body.errcode).to.equal('M_USER_LOCKED');
    expect(locked).to.deep.equal([body.user_id]);
    expect((await server.request('POST', '/logout', {}, other.access_token)).status).to.equal(200);
    await server.services.userAdministration.lock(OPERATOR, body.user_id, false);
    expect(await server.isAlive(body.access_token)).to.equal(true);
    expect(await server.isAlive(other.access_token)).to.equal(false);
  });

  it('notices at once who became administrator', async () => {
    const { body } = await server.register();
    expect((await server.services.sessions.authenticate(body.access_token)).isAdmin).to.equal(false);
    await server.services.userAdministration.setAdmin(OPERATOR, body.user_id, true);
    expect((await server.services.sessions.authenticate(body.access_token)).isAdmin).to.equal(true);
  });

  it('renews a hash that was made with another cost', async () => {
    const { body } = await server.register();
    const old = new PasswordHasher({ cost: { memoryCost: 2048, timeCost: 3, parallelism: 1 } });
    const passwordHash = await old.hash(PASSWORD, { party: 'somebody', isPreferred: false });
    await server.services.database.write((tx) => server.services.users.change(tx, body.user_id, { passwordHash }));
    expect((await server.logIn(body.user_id)).status).to.equal(200);
    const [account] = await findCredentials(server.services.database, [body.user_id]);
    expect(account?.passwordHash).to.include('m=1024,').and.not.equal(passwordHash);
    expect((await server.logIn(body.user_id)).status).to.equal(200);
  });

  it('authenticates a token it has seen without any statement', async () => {
    const { body } = await server.register();
    await server.services.sessions.authenticate(body.access_token);
    await server.app.idle();
    const before = server.services.database.statements();
    for (let round = 0; round < 1000; round += 1) await server.services.sessions.authenticate(body.access_token);
    expect(server.services.database.statements() - before).to.equal(0);
  });

  it('asks the database once for a token that many requests bring at the same time', async () => {
    const { body } = await server.register();
    await server.app.idle();
    const before = server.services.database.statements();
    await Promise.all(Array.from({ length: 50 }, () => server.services.sessions.authenticate(body.access_token)));
    expect(server.services.database.statements() - before).to.equal(1);
  });

  it('does not remember a token whose session ended while it was looked up', async () => {
    for (let round = 0; round < 10; round += 1) {
      const { body } = await server.register();
      await Promise.allSettled([
        server.services.sessions.authenticate(body.access_token),
        server.services.sessions.revokeDevices(body.user_id, [body.device_id], 'logged_out'),
        server.services.sessions.authenticate(body.access_token),
      ]);
      expect(await server.isAlive(body.access_token)).to.equal(false);
    }
  });
});

describe('limits on logging in', () => {
  let server: AccountsServer;
  afterEach(() => server.stop());
  const start = async (rateLimits: Readonly<Record<string, RateLimit>>): Promise<void> => {
    server = await AccountsServer.start({ rateLimits });
  };
  const GUESSES = { perSecond: 0.05, burst: 4 };
  const RESERVE = { login_reserve: { perSecond: 0.2, burst: 4 }, login_reserve_share: { perSecond: 0.001, burst: 3 } };
  /** One attempt in a thousand years. */
  const SMALLEST = { login_reserve: { perSecond: 3e-11, burst: 1 }, login_reserve_share: RESERVE.login_reserve_share };
  const guess = (from: string, user: string, password = 'wrong guess', more: object = {}): Promise<Answer> => {
    server.forwardedFor = from;
    return server.logIn(user, { password, ...more });
  };
  const statuses = async (count: number, from: (index: number) => string, user: string): Promise<number[]> => {
    const all: number[] = [];
    for (let index = 0; index < count; index += 1) all.push((await guess(from(index), user)).status);
    return all;
  };

  it('stop guessing the password of an account from one network, however its addresses are written', async () => {
    await start({ login: GUESSES });
    await server.register({ username: 'guessed' });
    const all = await statuses(5, (index) => `2001:db8:0:1::${index}`, 'guessed');
    expect(all).to.deep.equal([403, 403, 403, 403, 429]);
    const limited = await guess('2001:db8:0:1::', 'guessed', PASSWORD);
    expect([limited.status, limited.body.errcode]).to.deep.equal([429, 'M_LIMIT_EXCEEDED']);
    expect(limited.body['org.tsudoi.limiter']).to.equal('login');
    expect(limited.headers.get('retry-after')).to.match(/^\d+$/);
    await server.clock.advance(limited.body.retry_after_ms);
    expect((await guess('2001:db8:0:1::', 'guessed', PASSWORD)).status).to.equal(200);
  });

  it('keep nobody out of their account who is elsewhere, or who has a session', async () => {
    await start({ login: GUESSES });
    const { body } = await server.register({ username: 'owner' });
    expect(await statuses(6, () => '192.0.2.1', 'owner')).to.deep.equal([403, 403, 403, 403, 429, 429]);
    for (let count = 0; count < 10; count += 1) {
      expect((await guess('198.51.100.7', 'owner', PASSWORD)).status).to.equal(200);
    }
    const uia = { new_password: 'another password', logout_devices: false, auth: passwordAuth('owner') };
    server.forwardedFor = '192.0.2.1';
    expect((await server.request('POST', '/account/password', uia, body.access_token)).status).to.equal(200);
  });

  it('count failures only, and each of many at once', async () => {
    await start({ login: GUESSES });
    await server.register({ username: 'often' });
    for (let count = 0; count < 12; count += 1) {
      expect((await guess('192.0.2.2', 'often', PASSWORD)).status).to.equal(200);
    }
    const all = await Promise.all(Array.from({ length: 20 }, () => guess('192.0.2.2', 'often')));
    expect(all.filter(({ status }) => status === 403)).to.have.length(4);
  });

  it('stop guessing from one address, whichever accounts, but not those who are in use there', async () => {
    await start({ login_address: GUESSES });
    server.forwardedFor = '192.0.2.77';
    await server.register({ username: 'at-home' });
    for (let count = 0; count < 4; count += 1) {
      expect((await guess('192.0.2.77', `account${count}`)).status).to.equal(403);
    }
    const limited = await guess('192.0.2.77', 'account4');
    expect([limited.status, limited.body['org.tsudoi.limiter']]).to.deep.equal([429, 'login_address']);
    expect((await guess('192.0.2.77', 'at-home', PASSWORD)).status).to.equal(200);
  });

  it('stop guessing the password of an account from everywhere, but not from where it is in use', async () => {
    await start({ ...SMALLEST, login: GUESSES, login_account: { perSecond: 0.05, burst: 10 } });
    server.forwardedFor = '192.0.2.78';
    await server.register({ username: 'wanted' });
    // Where the account was logged in to a moment ago, whether or not anything was asked with the token since.
    expect((await guess('192.0.2.79', 'wanted', PASSWORD)).status).to.equal(200);
    const all = await statuses(12, (index) => `198.51.100.${index}`, 'wanted');
    expect(all).to.deep.equal([...Array.from({ length: 11 }, () => 403), 429]);
    for (const place of ['192.0.2.78', '192.0.2.79'])
      expect((await guess(place, 'wanted', PASSWORD)).status).to.equal(200);
  });

  it('let the owner in from a new network, though somebody uses up from a few networks what the account may have', async () => {
    await start({ ...RESERVE, login_account: { perSecond: 0.5, burst: 10 } });
    await server.register({ username: 'travels' });
    const attack = (): Promise<number[]> => statuses(24, (index) => `192.0.2.${index % 3}`, 'travels');
    for (let minute = 0; minute < 10; minute += 1) {
      const all = await attack();
      expect(all.filter((status) => status !== 403 && status !== 429)).to.deep.equal([]);
      expect(all.at(-1)).to.equal(429);
      await server.clock.advance(4_000);
    }
    await attack();
    expect((await guess('198.51.100.7', 'travels')).status).to.equal(403);
    expect((await guess('198.51.100.7', 'travels', PASSWORD)).status).to.equal(200);
  });

  it('leave few guesses beyond them to one network, and few to all together', async () => {
    await start({ ...RESERVE, login_account: { perSecond: 3e-11, burst: 1 } });
    await server.register({ username: 'guessed' });
    expect(await statuses(6, () => '192.0.2.1', 'guessed')).to.deep.equal([403, 403, 403, 403, 429, 429]);
    expect(await statuses(3, (index) => `198.51.100.${index}`, 'guessed')).to.deep.equal([403, 429, 429]);
    const refused = await guess('198.51.100.9', 'guessed');
    expect(refused.body['org.tsudoi.limiter']).to.equal('login_account');
  });

  it('let a device of the account in again from a network in which somebody else guesses', async () => {
    await start({ ...RESERVE, login: GUESSES });
    server.forwardedFor = '192.0.2.1';
    const { body } = await server.register({ username: 'shares' });
    expect(await statuses(5, () => '192.0.2.1', 'shares')).to.deep.equal([403, 403, 403, 403, 429]);
    expect((await guess('192.0.2.1', 'shares', PASSWORD)).status).to.equal(429);
    for (const device of ['MADEUP', 'x'.repeat(300)])
      expect((await guess('192.0.2.1', 'shares', PASSWORD, { device_id: device })).status, device).to.equal(429);
    const own = { device_id: body.device_id };
    expect((await guess('192.0.2.1', 'shares', 'wrong guess', own)).status).to.equal(403);
    expect((await guess('192.0.2.1', 'shares', PASSWORD, own)).status).to.equal(200);
    const wrong = [];
    for (let count = 0; count < 3; count += 1) wrong.push((await guess('192.0.2.1', 'shares', 'wrong', own)).status);
    expect(wrong).to.deep.equal([403, 403, 429]);
  });

  it('let a device of the account in, though its network has used up its share of the reserve', async () => {
    await start({ ...RESERVE, login_account: { perSecond: 3e-11, burst: 1 } });
    server.forwardedFor = '192.0.2.99';
    const { body } = await server.register({ username: 'shares' });
    expect(await statuses(5, () => '192.0.2.1', 'shares')).to.deep.equal([403, 403, 403, 403, 429]);
    await server.clock.advance(5_000);
    const own = { device_id: body.device_id };
    expect((await guess('192.0.2.1', 'shares', PASSWORD)).status).to.equal(429);
    for (let count = 0; count < 2; count += 1)
      expect((await guess('192.0.2.1', 'shares', 'wrong guess', own)).status).to.equal(403);
    const told = await guess('192.0.2.1', 'shares', PASSWORD, own);
    // That of all is there again before that of the network, and before the account's own.
    expect([told.status, told.body.retry_after_ms]).to.deep.equal([429, 5_000]);
    await server.clock.advance(5_000);
    expect((await guess('192.0.2.1', 'shares', PASSWORD, own)).status).to.equal(200);
  });

  it('count what proves the password as logins do, whether or not the session of an authentication is named', async () => {
    await start({ login_success: { perSecond: 0.05, burst: 4 } });
    const { body } = await server.register({ username: 'again' });
    const change = { new_password: PASSWORD, logout_devices: false, auth: passwordAuth('again') };
    const all = [];
    for (let count = 0; count < 5; count += 1)
      all.push(await server.request('POST', '/account/password', change, body.access_token));
    expect(all.map(({ status }) => status)).to.deep.equal([200, 200, 200, 200, 429]);
    expect(all.at(-1)?.body['org.tsudoi.limiter']).to.equal('login_success');
  });

  it('make users wait who have cost many hashes', async () => {
    await start({ work: { perSecond: 0.001, burst: 400 } });
    let hashes = 0;
    const { body } = await server.register({ username: 'costly' });
    const statusOf = async (): Promise<number> => {
      const change = {
        new_password: `${PASSWORD} ${hashes}`,
        auth: passwordAuth('costly', hashes === 0 ? PASSWORD : `${PASSWORD} ${hashes - 1}`),
      };
      hashes += 1;
      return (await server.request('POST', '/account/password', change, body.access_token)).status;
    };
    let status = 200;
    while (status === 200 && hashes < 300) status = await statusOf();
    // Two hashes of 1 MiB in two passes each, and about a millisecond for the statements.
    expect(status).to.equal(429);
    expect(hashes).to.be.within(80, 160);
  });

  it('hold the owner of a session to few guesses in user-interactive authentication, wherever from', async () => {
    await start({ login: GUESSES });
    const { body } = await server.register({ username: 'stolen' });
    const wrong = { new_password: 'another password', auth: passwordAuth('stolen', 'wrong guess') };
    for (let count = 0; count < 5; count += 1) {
      server.forwardedFor = `192.0.2.${count}`;
      const { status } = await server.request('POST', '/account/password', wrong, body.access_token);
      expect(status).to.equal(count < 4 ? 401 : 429);
    }
    expect(await server.isAlive(body.access_token)).to.equal(true);
    expect((await guess('198.51.100.1', 'stolen', PASSWORD)).status).to.equal(200);
  });

  it('let an account log in only so often, which nobody uses up who does not know the password', async () => {
    await start({ login_success: { perSecond: 0.05, burst: 2 } });
    await server.register({ username: 'busy' });
    expect(await statuses(5, () => '192.0.2.3', 'busy')).to.deep.equal([403, 403, 403, 403, 403]);
    const all = [1, 2, 3].map(() => guess('192.0.2.3', 'busy', PASSWORD));
    expect((await Promise.all(all)).map(({ status }) => status).sort()).to.deep.equal([200, 200, 429]);
  });

  it('say the same of unknown, wrong and deactivated, after the same work and as often', async () => {
    const hashed: string[] = [];
    const counted: Argon2 = {
      ...argon2,
      verify: (hash, password) => {
        hashed.push(hash.split('$')[3] ?? '');
        return argon2.verify(hash, password);
      },
    };
    server = await AccountsServer.start({ rateLimits: { login: GUESSES }, argon2: counted });
    await server.register({ username: 'here' });
    const { body: gone } = await server.register({ username: 'gone' });
    await server.services.accounts.deactivate(gone.user_id, false);
    const seen = [];
    for (const user of ['here', 'gone', 'nobody', '@nobody:elsewhere.test', 'Not A Name']) {
      hashed.length = 0;
      const answers = [];
      for (let count = 0; count < 6; count += 1) {
        const { status, body } = await guess('192.0.2.9', user);
        answers.push([status, body.errcode, body.error]);
      }
      seen.push({ answers, hashed: [...hashed] });
    }
    for (const other of seen) expect(other).to.deep.equal(seen[0]);
    expect(seen[0]?.hashed).to.have.length(4);
  });
});

describe('refreshing access tokens', () => {
  let server: AccountsServer;
  before(async () => {
    server = await AccountsServer.start();
  });
  after(() => server.stop());

  const refresh = (token: string) => server.request('POST', '/refresh', { refresh_token: token });
  const whoami = (token: string) => server.request('GET', '/account/whoami', undefined, token);

  it('gives refresh tokens and a lifetime only to who asked for them', async () => {
    const { body: registered } = await server.register({ refresh_token: true });
    expect(registered.refresh_token).to.be.a('string');
    expect(registered.expires_in_ms).to.equal(300_000);
    const { body: plain } = await server.logIn(registered.user_id);
    expect(plain).to.not.have.any.keys('refresh_token', 'expires_in_ms');
    server.clock.set(30 * 86_400_000);
    expect(await server.isAlive(plain.access_token)).to.equal(true);
  });

  it('logs out softly when the access token expires, until it is refreshed', async () => {
    const { body } = await server.register({ refresh_token: true });
    expect((await whoami(body.access_token)).status).to.equal(200);
    await server.clock.advance(300_001 + 1000);
    const expired = await whoami(body.access_token);
    expect([expired.status, expired.body.errcode, expired.body.soft_logout]).to.deep.equal([
      401,
      'M_UNKNOWN_TOKEN',
      true,
    ]);
    const { status, body: tokens } = await refresh(body.refresh_token);
    expect(status).to.equal(200);
    const alive = await whoami(tokens.access_token);
    expect(alive.body).to.include({ user_id: body.user_id, device_id: body.device_id });
    await server.request('POST', '/logout', {}, tokens.access_token);
    expect((await whoami(body.access_token)).body.soft_logout).to.equal(false);
  });

  it('lets a client refresh again when the answer got lost', async () => {
    const { body } = await server.register({ refresh_token: true });
    await refresh(body.refresh_token);
    const { status, body: again } = await refresh(body.refresh_token);
    expect(status).to.equal(200);
    expect((await whoami(again.access_token)).status).to.equal(200);
  });

  it('spends the old refresh token when the new access token is used; using it again ends the session', async () => {
    const { body } = await server.register({ refresh_token: true });
    const { body: next } = await refresh(body.refresh_token);
    expect((await whoami(next.access_token)).status).to.equal(200);
    const heard: SessionEnded[] = [];
    const off = server.services.accountStream.on('session_ended', (event) => {
      heard.push(event);
    });
    const replay = await refresh(body.refresh_token);
    off();
    expect([replay.status, replay.body.errcode, replay.body.soft_logout]).to.deep.equal([
      401,
      'M_UNKNOWN_TOKEN',
      false,
    ]);
    expect(heard.map(({ reason }) => reason)).to.deep.equal(['refresh_token_reused']);
    expect((await whoami(next.access_token)).status).to.equal(401);
    expect((await refresh(next.refresh_token)).status).to.equal(401);
  });

  it('spends the old refresh token when the new refresh token is used', async () => {
    const { body } = await server.register({ refresh_token: true });
    const { body: second } = await refresh(body.refresh_token);
    const { body: third } = await refresh(second.refresh_token);
    expect((await whoami(third.access_token)).status).to.equal(200);
    expect((await refresh(body.refresh_token)).status).to.equal(401);
    expect((await whoami(third.access_token)).status).to.equal(401);
  });

  it('keeps few tokens however often is refreshed', async () => {
    const { body } = await server.register({ refresh_token: true });
    let token = body.refresh_token;
    for (let round = 0; round < 40; round += 1) token = (await refresh(token)).body.refresh_token;
    const count = sql(
      'test_refresh_tokens',
      'select count(*) from refresh_tokens join sessions using (session_id) where user_id = $1',
    );
    const [row] = await server.services.database.query<{ count: number }>(count, [body.user_id]);
    expect(row?.count).to.be.within(2, 25);
  });

  it('does not keep refresh tokens in clear', async () => {
    const { body } = await server.register({ refresh_token: true });
    const all = await server.services.database.query(sql('test_all_refresh', 'select * from refresh_tokens'));
    const stored = all
      .map((row) => `${(row['token_hash'] as Buffer).toString('latin1')} ${JSON.stringify(row)}`)
      .join('\n');
    expect(stored).to.not.include(body.refresh_token);
  });

  it('answers 401 M_UNKNOWN_TOKEN for an unknown refresh token and one of a session that was logged out', async () => {
    expect((await refresh('unknown')).body.errcode).to.equal('M_UNKNOWN_TOKEN');
    const { body } = await server.register({ refresh_token: true });
    await server.request('POST', '/logout', {}, body.access_token);
    expect((await refresh(body.refresh_token)).status).to.equal(401);
  });

  it('ends refresh tokens that were not used in time, softly', async () => {
    const shortLived = await AccountsServer.start({ sessions: { refreshTokenLifetimeMs: 60_000 } });
    const { body } = await shortLived.register({ refresh_token: true });
    await shortLived.clock.advance(59_999);
    const { body: next } = await shortLived.request('POST', '/refresh', { refresh_token: body.refresh_token });
    expect(next.refresh_token).to.be.a('string');
    await shortLived.clock.advance(60_000);
    const late = await shortLived.request('POST', '/refresh', { refresh_token: next.refresh_token });
    await shortLived.stop();
    expect([late.status, late.body.errcode, late.body.soft_logout]).to.deep.equal([401, 'M_UNKNOWN_TOKEN', true]);
  });
});
