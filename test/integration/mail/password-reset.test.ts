import { OPERATOR } from '#src/services/audit/actor.ts';
import { expect } from 'chai';
import { MailWorld, PASSWORD } from './mail-world.ts';

const NEW_PASSWORD = 'another horse, another battery';

describe('a password that is reset by mail', function () {
  this.timeout(60_000);
  let world: MailWorld;
  before(async () => {
    world = await MailWorld.start();
  });
  after(() => world?.stop());

  const someone = async (name: string): Promise<{ userId: string; token: string; email: string }> => {
    const person = await world.register(name);
    const email = world.address();
    await world.add(person, email);
    return { ...person, email };
  };
  const reset = (credentials: object, more: object = {}) =>
    world.app.ask(undefined, 'POST', '/account/password', {
      new_password: NEW_PASSWORD,
      auth: { type: 'm.login.email.identity', threepid_creds: credentials },
      ...more,
    });
  const logIn = async (userId: string, password: string): Promise<number> => {
    const body = { type: 'm.login.password', identifier: { type: 'm.id.user', user: userId }, password };
    return (await world.app.ask(undefined, 'POST', '/login', body)).status;
  };
  const isAlive = async (token: string): Promise<boolean> =>
    (await world.app.ask(token, 'GET', '/account/whoami')).status === 200;

  for (const language of ['en', 'ja'])
    it(`is the new one once the link in the mail was followed (${language}), and all devices are logged out`, async () => {
      const { email, token, userId } = await someone(`forgets-${language}`);
      const headers = { 'Accept-Language': language };
      const { body } = await world.requestToken('account/password', email.toUpperCase(), {}, headers);
      await world.app.idle();
      const mail = world.mail.one();
      expect(mail.to).to.deep.equal([email]);
      expect(mail.parsed.text).to.include(userId);
      const credentials = { sid: body.sid, client_secret: `secret_${email.toUpperCase().replace(/[^a-z0-9]/gi, '')}` };
      const early = await reset(credentials);
      expect([early.status, early.body.errcode]).to.deep.equal([401, 'M_UNAUTHORIZED']);
      expect(early.body.flows).to.deep.equal([{ stages: ['m.login.email.identity'] }]);
      await world.follow(mail, headers);
      const auth = { type: 'm.login.email.identity', threepid_creds: credentials, session: early.body.session };
      expect((await reset(credentials, { auth })).status).to.equal(200);
      expect([await logIn(userId, PASSWORD), await logIn(userId, NEW_PASSWORD)]).to.deep.equal([403, 200]);
      expect(await isAlive(token)).to.equal(false);
    });

  it('leaves the devices logged in where that is asked for, and takes the older spelling of clients', async () => {
    const { email, token, userId } = await someone('keeps');
    const credentials = await world.validated('account/password', email);
    const auth = { type: 'm.login.email.identity', threepidCreds: { ...credentials, id_server: 'id.test' } };
    expect((await reset({}, { auth, logout_devices: false })).status).to.equal(200);
    expect([await logIn(userId, NEW_PASSWORD), await isAlive(token)]).to.deep.equal([200, true]);
  });

  it('is reset once for each mail', async () => {
    const { email } = await someone('once');
    const credentials = await world.validated('account/password', email);
    const statuses = (await Promise.all([reset(credentials), reset(credentials)])).map(({ status }) => status);
    expect(statuses.filter((status) => status === 200)).to.have.length(1);
    expect((await reset(credentials)).status).to.equal(401);
  });

  it('gives a request that is repeated in its session the same answer', async () => {
    const { email } = await someone('repeats');
    const credentials = await world.validated('account/password', email);
    const { body } = await world.app.ask(undefined, 'POST', '/account/password', { new_password: NEW_PASSWORD });
    const auth = { type: 'm.login.email.identity', threepid_creds: credentials, session: body.session };
    for (let times = 0; times < 2; times++) expect((await reset({}, { auth })).status).to.equal(200);
  });

  it('is not reset by a mail for anything else, by the secret of another, or without what the stage needs', async () => {
    const { email, userId } = await someone('guarded');
    const other = world.address();
    const forRegistration = await world.validated('register', other);
    const forAddition = await world.validated('account/3pid', world.address());
    const right = await world.validated('account/password', email);
    for (const credentials of [
      forRegistration,
      forAddition,
      { ...right, client_secret: 'guessed' },
      { sid: 'x\0y', client_secret: 'a' },
    ]) {
      const answer = await reset(credentials);
      expect([answer.status, answer.body.errcode]).to.deep.equal([401, 'M_UNAUTHORIZED']);
    }
    for (const credentials of [undefined, null, 'x', {}, { sid: 1, client_secret: 'x' }]) {
      const answer = await reset(credentials as object);
      expect([answer.status, answer.body.errcode]).to.deep.equal([400, 'M_MISSING_PARAM']);
    }
    expect(await logIn(userId, PASSWORD)).to.equal(200);
  });

  it('is not reset with a token that was sent to an address which the account has no longer', async () => {
    const { email, token, userId } = await someone('moved');
    const credentials = await world.validated('account/password', email);
    await world.app.must(token, 'POST', '/account/3pid/delete', { medium: 'email', address: email });
    const answer = await reset(credentials);
    expect([answer.status, answer.body.errcode]).to.deep.equal([404, 'M_NOT_FOUND']);
    expect(await logIn(userId, PASSWORD)).to.equal(200);
  });

  it('has to be strong enough, and stays where the account is locked', async () => {
    const { email, userId } = await someone('locked');
    const credentials = await world.validated('account/password', email);
    const weak = await reset(credentials, { new_password: 'short' });
    expect([weak.status, weak.body.errcode]).to.deep.equal([400, 'M_WEAK_PASSWORD']);
    await world.app.services.userAdministration.lock(OPERATOR, userId, true);
    const locked = await reset(credentials);
    expect([locked.status, locked.body.errcode]).to.deep.equal([403, 'M_FORBIDDEN']);
  });

  it('is changed with the old one where an access token comes with the request', async () => {
    const { token } = await someone('knows');
    const { status, body } = await world.app.ask(token, 'POST', '/account/password', { new_password: NEW_PASSWORD });
    expect([status, body.flows]).to.deep.equal([401, [{ stages: ['m.login.password'] }]]);
    const unknown = await world.app.ask('not_a_token!', 'POST', '/account/password', { new_password: NEW_PASSWORD });
    expect([unknown.status, unknown.body.errcode]).to.deep.equal([401, 'M_UNKNOWN_TOKEN']);
  });
});
