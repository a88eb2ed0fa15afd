import { OPERATOR } from '#src/services/audit/actor.ts';
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { expect } from 'chai';
import * as argon2 from '@node-rs/argon2';
import * as jose from 'jose';
import type { RateLimit } from '#src/kernel/limits/rate-limiter.ts';
import { sql } from '#src/storage/database.ts';
import { type ConfigChanges, InProcessServer, type Json } from '#test/support/in-process-server.ts';

const PASSWORD = 'a long password';
const JWT = 'org.matrix.login.jwt';
const SECRET = 'a secret that two servers share, and nobody else';

describe('logging in', function () {
  this.timeout(60_000);
  const servers: InProcessServer[] = [];
  const started = async (
    config: ConfigChanges = {},
    rateLimits?: Readonly<Record<string, RateLimit>>,
  ): Promise<InProcessServer> => {
    const server = await InProcessServer.start({ config, ...(rateLimits === undefined ? {} : { rateLimits }) });
    servers.push(server);
    return server;
  };
  afterEach(() => Promise.all(servers.splice(0).map((server) => server.stop())));
  const refusal = ({ status, body }: Json): unknown => [status, body.errcode];

  it('by a password makes no session when the password is changed while it is compared', async () => {
    const server = await started();
    const made = { username: 'alice', password: PASSWORD, auth: { type: 'm.login.dummy' }, inhibit_login: true };
    await server.must(undefined, 'POST', '/register', made);
    const { accounts, sessions } = server.services;
    const create = sessions.createSession.bind(sessions);
    sessions.createSession = async (request) => {
      await accounts.setPassword('@alice:test', 'a password that nobody else knows', 'others');
      return create(request);
    };
    const identifier = { type: 'm.id.user', user: 'alice' };
    const logIn = { type: 'm.login.password', identifier, password: PASSWORD };
    const answer = await server.ask(undefined, 'POST', '/login', logIn);
    expect(refusal(answer)).to.deep.equal([403, 'M_FORBIDDEN']);
    sessions.createSession = create;
    expect(refusal(await server.ask(undefined, 'POST', '/login', logIn))).to.deep.equal([403, 'M_FORBIDDEN']);
    expect(await server.services.devices.list('@alice:test')).to.deep.equal([]);
  });

  it('at once with a password whose hash is out of date all succeed', async () => {
    const server = await started();
    const made = { username: 'bob', password: PASSWORD, auth: { type: 'm.login.dummy' } };
    await server.must(undefined, 'POST', '/register', made);
    const outdated = await argon2.hash(PASSWORD, { memoryCost: 2_048, timeCost: 1, parallelism: 1 });
    await server.services.database.query(
      sql('test_outdated', `update accounts set password_hash = $1 where user_id = '@bob:test'`),
      [outdated],
    );
    const identifier = { type: 'm.id.user', user: 'bob' };
    const logIn = { type: 'm.login.password', identifier, password: PASSWORD };
    const answers = await Promise.all([1, 2, 3, 4].map(() => server.ask(undefined, 'POST', '/login', logIn)));
    expect(answers.map(({ status }) => status)).to.deep.equal([200, 200, 200, 200]);
  });

  describe('by a mail address', () => {
    const register = (server: InProcessServer, username: string): Promise<Json> =>
      server.must(undefined, 'POST', '/register', { username, password: PASSWORD, auth: { type: 'm.login.dummy' } });
    const give = (server: InProcessServer, username: string, address: string): Promise<unknown> =>
      server.must('admin-root', 'PUT', `/_synapse/admin/v2/users/@${username}:test`, {
        threepids: [{ medium: 'email', address }],
      });
    const logIn = (server: InProcessServer, members: object, password = PASSWORD): Promise<Json> =>
      server.ask(undefined, 'POST', '/login', { type: 'm.login.password', password, ...members });

    it('works in every form that the specification has for it, and however its letters are written', async () => {
      const server = await started();
      await register(server, 'alice');
      await give(server, 'alice', 'Alice@Mail.test');
      const identifier = { type: 'm.id.thirdparty', medium: 'email', address: 'alice@mail.test' };
      const { type: _, ...untyped } = identifier;
      for (const members of [
        { identifier },
        { identifier: { ...identifier, address: 'ALICE@mail.TEST' } },
        { identifier: untyped },
        { medium: 'email', address: 'alice@mail.test' },
      ]) {
        const { status, body } = await logIn(server, members);
        expect([status, body.user_id], JSON.stringify(members)).to.deep.equal([200, '@alice:test']);
      }
    });

    it('tells an address that belongs to nobody from a wrong password neither by words nor by work', async () => {
      const server = await started();
      await register(server, 'alice');
      await give(server, 'alice', 'alice@mail.test');
      const answers: Json[] = [];
      const works: string[][] = [];
      for (const address of ['alice@mail.test', 'nobody@mail.test', 'no address']) {
        const identifier = { type: 'm.id.thirdparty', medium: 'email', address };
        await server.idle();
        const names = await server.statementNames(async () =>
          answers.push(await logIn(server, { identifier }, 'wrong')),
        );
        if (address.includes('@')) works.push(names.filter((name) => name.startsWith('account')));
      }
      answers.push(await logIn(server, { identifier: { type: 'm.id.thirdparty', medium: 'pigeon', address: 'a' } }));
      answers.push(await logIn(server, { identifier: { type: 'm.id.phone', country: 'JP', phone: '0312345678' } }));
      for (const answer of answers) expect([answer.status, answer.body]).to.deep.equal([403, answers[0].body]);
      expect(answers[0].body.errcode).to.equal('M_FORBIDDEN');
      expect(works).to.deep.equal([['account_credentials_by_address'], ['account_credentials_by_address']]);
    });

    it('counts failures against the account that has the address, and against one that does not exist', async () => {
      const server = await started({}, { login: { perSecond: 0.001, burst: 3 } });
      await register(server, 'alice');
      await give(server, 'alice', 'alice@mail.test');
      for (const address of ['alice@mail.test', 'nobody@mail.test']) {
        const identifier = { type: 'm.id.thirdparty', medium: 'email', address };
        const statuses: number[] = [];
        for (let attempt = 0; attempt < 4; attempt++)
          statuses.push((await logIn(server, { identifier }, 'wrong')).status);
        expect(statuses, address).to.deep.equal([403, 403, 403, 429]);
      }
      // It is the same account, by whatever it is called.
      expect((await logIn(server, { identifier: { type: 'm.id.user', user: 'alice' } }, 'wrong')).status).to.equal(429);
    });

    it('needs medium and address, and ends with the account', async () => {
      const server = await started();
      const { access_token: token } = await register(server, 'alice');
      await give(server, 'alice', 'alice@mail.test');
      for (const identifier of [{ type: 'm.id.thirdparty' }, { type: 'm.id.thirdparty', medium: 'email', address: 7 }])
        expect(refusal(await logIn(server, { identifier }))).to.deep.equal([400, 'M_MISSING_PARAM']);
      expect(refusal(await logIn(server, { identifier: { type: 'm.id.face' } }))).to.deep.equal([400, 'M_UNKNOWN']);
      const auth = { type: 'm.login.password', identifier: { type: 'm.id.user', user: 'alice' }, password: PASSWORD };
      await server.must(token, 'POST', '/account/deactivate', { auth });
      await server.idle();
      const identifier = { type: 'm.id.thirdparty', medium: 'email', address: 'alice@mail.test' };
      expect(refusal(await logIn(server, { identifier }))).to.deep.equal([403, 'M_FORBIDDEN']);
    });

    it('proves who asks in user-interactive authentication, too', async () => {
      const server = await started();
      const { access_token: token } = await register(server, 'alice');
      await register(server, 'bob');
      await give(server, 'alice', 'alice@mail.test');
      await give(server, 'bob', 'bob@mail.test');
      const auth = (address: string): object => ({
        type: 'm.login.password',
        identifier: { type: 'm.id.thirdparty', medium: 'email', address },
        password: PASSWORD,
      });
      const change = (address: string): Promise<Json> =>
        server.ask(token, 'POST', '/account/password', { new_password: 'a new password', auth: auth(address) });
      expect(refusal(await change('bob@mail.test'))).to.deep.equal([403, 'M_FORBIDDEN']);
      expect(refusal(await change('nobody@mail.test'))).to.deep.equal([403, 'M_FORBIDDEN']);
      expect((await change('alice@mail.test')).status).to.equal(200);
    });
  });

  describe('by a JSON Web Token', () => {
    const signed = (claims: jose.JWTPayload, key: KeyObject | Uint8Array = Buffer.from(SECRET), alg = 'HS256') =>
      new jose.SignJWT(claims).setProtectedHeader({ alg }).sign(key);
    const logIn = (server: InProcessServer, token: unknown): Promise<Json> =>
      server.ask(undefined, 'POST', '/login', { type: JWT, token });

    it('is offered where it is configured, and makes an account for whoever is new', async () => {
      const server = await started({ jwt: { enabled: true, key: SECRET, displayNameClaim: 'name' } });
      expect((await server.must(undefined, 'GET', '/login')).flows).to.deep.include({ type: JWT });
      const token = await signed({ sub: 'Alice', name: '集い Alice' });
      const first = await server.must(undefined, 'POST', '/login', { type: JWT, token, device_id: 'A' });
      expect(first).to.include({ user_id: '@alice:test', device_id: 'A' });
      const again = await server.must(undefined, 'POST', '/login', { type: JWT, token, device_id: 'B' });
      expect(again).to.include({ user_id: '@alice:test', device_id: 'B' });
      expect((await server.must(first.access_token, 'GET', '/profile/@alice:test')).displayname).to.equal('集い Alice');
      // Nobody can guess a password that is not there.
      const identifier = { type: 'm.id.user', user: 'alice' };
      const guess = { type: 'm.login.password', identifier, password: '' };
      expect(refusal(await server.ask(undefined, 'POST', '/login', guess))).to.deep.equal([403, 'M_FORBIDDEN']);
    });

    it('is not known where it is not configured', async () => {
      const server = await started();
      expect(JSON.stringify(await server.must(undefined, 'GET', '/login'))).not.to.include(JWT);
      expect(refusal(await logIn(server, await signed({ sub: 'alice' })))).to.deep.equal([400, 'M_UNKNOWN']);
    });

    const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const pem = (key: KeyObject): string => key.export({ type: 'spki', format: 'pem' }) as string;
    for (const [algorithm, keys, foreign] of [
      ['RS256', rsa, generateKeyPairSync('rsa', { modulusLength: 2048 })],
      ['ES256', ec, generateKeyPairSync('ec', { namedCurve: 'P-256' })],
    ] as const)
      it(`is checked by the public key of ${algorithm}, and by no other algorithm`, async () => {
        const server = await started({ jwt: { enabled: true, algorithm, key: pem(keys.publicKey) } });
        const { privateKey } = keys;
        expect((await logIn(server, await signed({ sub: 'alice' }, privateKey, algorithm))).status).to.equal(200);
        const none = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${Buffer.from('{"sub":"alice"}').toString('base64url')}.`;
        for (const token of [
          await signed({ sub: 'alice' }, foreign.privateKey, algorithm),
          // The public key is known to everybody: as a secret it proves nothing.
          await signed({ sub: 'alice' }, Buffer.from(pem(keys.publicKey))),
          none,
          none.slice(0, -1),
          'nonsense',
          '',
          '...',
          'x'.repeat(10_000),
        ])
          expect(refusal(await logIn(server, token)), token.slice(0, 40)).to.deep.equal([403, 'M_FORBIDDEN']);
      });

    it('is taken in its time only, from its issuer, and for whom it is meant', async () => {
      const server = await started({
        jwt: { enabled: true, key: SECRET, issuer: 'https://issuer.test', audiences: ['tsudoi', 'matrix'] },
      });
      const now = Math.floor(server.clock.now() / 1000);
      const good = { sub: 'alice', iss: 'https://issuer.test', aud: 'matrix', exp: now + 60, nbf: now };
      const ask = async (claims: object): Promise<unknown> =>
        (await logIn(server, await signed(claims as never))).status;
      expect(await ask(good)).to.equal(200);
      expect(await ask({ ...good, aud: ['other', 'tsudoi'] })).to.equal(200);
      for (const wrong of [
        { exp: now },
        { exp: 'never' },
        { nbf: now + 1 },
        { iss: 'https://other.test' },
        { iss: undefined },
        { iss: ['https://issuer.test'] },
        { aud: undefined },
        { aud: 'other' },
        { aud: [] },
        { aud: [{ matrix: 1 }] },
        { sub: undefined },
        { sub: '' },
        { sub: 7 },
        { sub: 'no name' },
        { sub: '@alice:elsewhere' },
      ])
        expect(await ask({ ...good, ...wrong }), JSON.stringify(wrong)).to.equal(403);
      await server.clock.advance(60_000);
      expect(await ask(good)).to.equal(403);
    });

    it('is refused with an audience where none is configured', async () => {
      const server = await started({ jwt: { enabled: true, key: SECRET } });
      expect((await logIn(server, await signed({ sub: 'alice', aud: 'somebody' }))).status).to.equal(403);
    });

    it('makes one account for twenty first logins at once', async () => {
      const server = await started({ jwt: { enabled: true, key: SECRET } });
      const token = await signed({ sub: 'alice' });
      const answers = await Promise.all(Array.from({ length: 20 }, () => logIn(server, token)));
      expect(answers.map(({ status }) => status)).to.deep.equal(answers.map(() => 200));
      expect(new Set(answers.map(({ body }) => body.user_id))).to.deep.equal(new Set(['@alice:test']));
    });

    it('is no way around a lock or the end of an account', async () => {
      const server = await started({ jwt: { enabled: true, key: SECRET } });
      const token = await signed({ sub: 'alice' });
      await logIn(server, token);
      await server.services.userAdministration.lock(OPERATOR, '@alice:test', true);
      const locked = await logIn(server, token);
      expect([...(refusal(locked) as []), locked.body.soft_logout]).to.deep.equal([401, 'M_USER_LOCKED', true]);
      await server.services.userAdministration.lock(OPERATOR, '@alice:test', false);
      await server.services.accounts.deactivate('@alice:test', false);
      expect(refusal(await logIn(server, token))).to.deep.equal([403, 'M_USER_DEACTIVATED']);
    });

    it('costs an address what it gets wrong, and nothing else', async () => {
      const server = await started(
        { jwt: { enabled: true, key: SECRET } },
        { login_address: { perSecond: 0.001, burst: 3 } },
      );
      const right = await signed({ sub: 'alice' });
      const statuses: number[] = [];
      for (const token of [right, right, right, right, 'a', 'b', 'c', 'd', right])
        statuses.push((await logIn(server, token)).status);
      expect(statuses).to.deep.equal([200, 200, 200, 200, 403, 403, 403, 429, 429]);
    });
  });

  it('says beforehand what a new password must have', async () => {
    const bare = await started();
    for (const path of ['/password_policy', '/_matrix/client/r0/password_policy', '/unstable/password_policy'])
      expect(await bare.must(undefined, 'GET', path), path).to.deep.equal({ 'm.minimum_length': 8 });
    const strict = await started({
      password: {
        minimumLength: 12,
        requireDigit: true,
        requireSymbol: true,
        requireUppercase: true,
        requireLowercase: true,
      },
    });
    expect(await strict.must(undefined, 'GET', '/password_policy')).to.deep.equal({
      'm.minimum_length': 12,
      'm.require_digit': true,
      'm.require_symbol': true,
      'm.require_uppercase': true,
      'm.require_lowercase': true,
    });
  });

  it('shows in the list of devices when, from where and with what each was used last', async () => {
    const server = await started();
    await server.must('alice/PHONE', 'GET', '/account/whoami');
    const [phone] = (await server.must('alice/PHONE', 'GET', '/devices')).devices;
    expect(phone.last_seen_ts).to.equal(server.clock.now());
    expect(phone.last_seen_ip).to.match(/127\.0\.0\.1$/);
    expect(phone['org.matrix.msc3852.last_seen_user_agent']).to.be.a('string');
  });

  it('to new accounts is bounded by how many a network makes, guests included; what fails does not count', async () => {
    const server = await started({}, { registration_success: { perSecond: 0.001, burst: 2 } });
    const register = (members: object): Promise<Json> =>
      server.ask(undefined, 'POST', '/register', { password: PASSWORD, auth: { type: 'm.login.dummy' }, ...members });
    expect((await register({ username: 'one' })).status).to.equal(200);
    for (let attempt = 0; attempt < 3; attempt++)
      expect(refusal(await register({ username: 'one' }))).to.deep.equal([400, 'M_USER_IN_USE']);
    expect(refusal(await register({ username: 'two', password: undefined }))).to.deep.equal([400, 'M_MISSING_PARAM']);
    expect((await server.ask(undefined, 'POST', '/register?kind=guest', {})).status).to.equal(200);
    for (const answer of [
      await register({ username: 'three' }),
      await server.ask(undefined, 'POST', '/register?kind=guest', {}),
    ]) {
      expect(refusal(answer)).to.deep.equal([429, 'M_LIMIT_EXCEEDED']);
      expect(answer.body['org.tsudoi.limiter']).to.equal('registration_success');
    }
  });
});
