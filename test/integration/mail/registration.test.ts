import { expect } from 'chai';
import { disposableDomains } from '#src/services/accounts/validation/disposable-mail.ts';
import { MailWorld, PASSWORD } from './mail-world.ts';

const STAGE = 'm.login.email.identity';

const RULES = { version: '1', en: { name: 'Rules', url: 'https://test/rules' } };

describe('registration with a mail address', function () {
  this.timeout(60_000);
  let world: MailWorld;
  before(async () => {
    world = await MailWorld.start({ registration: { requiresEmail: true } });
  });
  after(() => world?.stop());

  const register = (members: object) =>
    world.app.ask(undefined, 'POST', '/register', { password: PASSWORD, ...members });

  for (const language of ['en', 'ja'])
    it(`makes an account that has the address, once the link in the mail was followed (${language})`, async () => {
      const username = `newcomer-${language}`;
      const email = world.address();
      const headers = { 'Accept-Language': language };
      const asked = await register({ username });
      expect([asked.status, asked.body.flows]).to.deep.equal([401, [{ stages: [STAGE] }]]);
      const { body } = await world.requestToken('register', email, {}, headers);
      const auth = {
        type: STAGE,
        session: asked.body.session,
        threepid_creds: { sid: body.sid, client_secret: `secret_${email.replace(/[^a-z0-9]/g, '')}` },
      };
      const early = await register({ username, auth });
      expect([early.status, early.body.errcode, early.body.completed]).to.deep.equal([401, 'M_UNAUTHORIZED', []]);
      await world.app.idle();
      const mail = world.mail.one();
      expect(mail.parsed.headers.get('content-language')).to.equal(language);
      await world.follow(mail, headers);
      const made = await register({ username, auth });
      expect(made.status).to.equal(200);
      const [threepid] = await world.threepids(made.body.access_token);
      expect(threepid).to.include({ medium: 'email', address: email });
      const again = await register({ username, auth });
      expect(again.body.user_id, 'a request that is repeated').to.equal(made.body.user_id);
    });

  it('makes no account without one', async () => {
    for (const auth of [{ type: 'm.login.dummy' }, { type: STAGE, threepid_creds: { sid: 'x', client_secret: 'y' } }])
      expect((await register({ username: 'nobody', auth })).status).to.equal(401);
  });

  it('makes one account of an address, and none where somebody else has come to have it', async () => {
    const email = world.address();
    const first = await world.validated('register', email);
    const later = { client_secret: 'later' };
    const { body } = await world.requestToken('register', email, later);
    await world.app.idle();
    await world.follow(world.mail.one());
    const by = (username: string, credentials: object) =>
      register({ username, auth: { type: STAGE, threepid_creds: credentials } });
    expect((await by('has-it', first)).status).to.equal(200);
    const second = await by('wants-it', { sid: body.sid, ...later });
    expect([second.status, second.body.errcode]).to.deep.equal([400, 'M_THREEPID_IN_USE']);
    expect((await world.app.ask(undefined, 'GET', '/register/available?username=wants-it')).body).to.deep.equal({
      available: true,
    });
    expect((await by('spent', first)).status).to.equal(401);
  });

  it('lets invitations that wait for the address reach the account', async () => {
    const roomId = await world.app.room('inviter');
    const email = world.address();
    await world.app.must('inviter', 'POST', `/rooms/${roomId}/invite`, {
      medium: 'email',
      address: email,
      id_server: 'test',
    });
    await world.app.idle();
    world.mail.take();
    const credentials = await world.validated('register', email);
    const made = await register({ username: 'invited', auth: { type: STAGE, threepid_creds: credentials } });
    await world.app.idle();
    const sync = await world.app.must(made.body.access_token, 'GET', '/sync');
    const { events } = sync.rooms.invite[roomId].invite_state;
    const member = events.find((event: { state_key: string }) => event.state_key === made.body.user_id);
    expect(member.content.membership).to.equal('invite');
  });

  it('is a choice where the server does not ask for one', async () => {
    const open = await MailWorld.start();
    try {
      const { body } = await open.app.ask(undefined, 'POST', '/register', {});
      expect(body.flows).to.deep.equal([{ stages: ['m.login.dummy'] }, { stages: [STAGE] }]);
      const credentials = await open.validated('register', 'a@mail.test');
      const auth = { type: STAGE, threepid_creds: credentials };
      const made = await open.app.must(undefined, 'POST', '/register', { username: 'chose', password: PASSWORD, auth });
      expect(await open.threepids(made.access_token)).to.have.length(1);
    } finally {
      await open.stop();
    }
  });

  it('comes after the registration token, where both are asked for', async () => {
    const closed = await MailWorld.start({ registration: { requiresEmail: true, requiresToken: true } });
    try {
      const { body } = await closed.app.ask(undefined, 'POST', '/register', {});
      expect(body.flows).to.deep.equal([{ stages: ['m.login.registration_token', STAGE] }]);
    } finally {
      await closed.stop();
    }
  });

  it('is told from the flow without mail where a stage before it is the same in both', async () => {
    const open = await MailWorld.start({ registration: { requiresToken: true, terms: { rules: RULES } } });
    try {
      const { body } = await open.app.ask(undefined, 'POST', '/register', {});
      const token = 'm.login.registration_token';
      const [without, withMail] = [
        [token, 'm.login.dummy', 'm.login.terms'],
        [token, STAGE, 'm.login.terms'],
      ];
      expect(body.flows).to.deep.equal([{ stages: without }, { stages: withMail }]);
    } finally {
      await open.stop();
    }
  });

  it('is not taken where it is good for a few minutes only, however it is written', async () => {
    const open = await MailWorld.start();
    const lax = await MailWorld.start({ registration: { refuseDisposableMail: false } });
    try {
      for (const email of ['a@mailinator.com', 'A@MailInator.COM', 'a@sub.mailinator.com', 'a@x.y.yopmail.com']) {
        const answer = await open.requestToken('register', email);
        expect([answer.status, answer.body.errcode], email).to.deep.equal([403, 'M_THREEPID_DENIED']);
        expect((await lax.requestToken('register', email)).status, email).to.equal(200);
      }
      for (const email of ['a@notmailinator.example', 'a@mailinator.com.example', 'a@例え.example'])
        expect((await open.requestToken('register', email)).status, email).to.equal(200);
    } finally {
      await open.stop();
      await lax.stop();
    }
  });

  it('is compared with one set of domains, however often it is asked', async () => {
    const first = await disposableDomains();
    expect(first.size).to.be.greaterThan(1_000);
    expect(await disposableDomains()).to.equal(first);
  });

  it('sends no mails where nobody can register', async () => {
    const closed = await MailWorld.start({ registration: { enabled: false } });
    try {
      const answer = await closed.requestToken('register', 'a@mail.test');
      expect([answer.status, answer.body.errcode]).to.deep.equal([403, 'M_FORBIDDEN']);
    } finally {
      await closed.stop();
    }
  });
});
