import { expect } from 'chai';
import { linkOf } from '#test/support/stand-ins/mail-server.ts';
import { MailWorld, PASSWORD } from './mail-world.ts';

describe('mail to people who are invited by their address', function () {
  this.timeout(60_000);
  let world: MailWorld;
  before(async () => {
    world = await MailWorld.start();
  });
  after(() => world?.stop());

  const invite = async (roomId: string, address: string): Promise<void> => {
    await world.app.must('alice', 'POST', `/rooms/${roomId}/invite`, { medium: 'email', address, id_server: 'test' });
    await world.app.idle();
  };

  for (const [language, subject] of [
    ['en', 'Alice Liddell invites you to Tea party'],
    ['ja', 'Alice Liddell さんから「Tea party」に招待されました'],
  ] as const)
    it(`says who invites them, and whereto, in the inviter's language (${language})`, async () => {
      await world.app.setProfile('alice', { displayname: 'Alice Liddell' });
      await world.app.must('alice', 'PUT', '/user/@alice:test/account_data/org.tsudoi.language', { language });
      const roomId = await world.app.room('alice', { name: 'Tea party' });
      const address = world.address();
      await invite(roomId, address);
      const mail = world.mail.one();
      expect(mail.to).to.deep.equal([address]);
      expect(mail.parsed.subject).to.equal(subject);
      expect(mail.parsed.text).to.include('@alice:test').and.include(address).and.include('https://test');
    });

  it('is sent once for each invitation, whatever is restarted or said twice', async () => {
    const roomId = await world.app.room('alice');
    await invite(roomId, world.address());
    world.mail.one();
    const tokens = await world.app.services.database.query<{ token: string }>({
      name: 'test_invitation_tokens',
      text: 'select token from third_party_invites',
    });
    for (const { token } of tokens) await world.app.services.inviteRedemption.sent(token, roomId);
    await world.app.idle();
    expect(world.mail.take()).to.deep.equal([]);
  });

  it('is no mail for what was revoked before it could be sent', async () => {
    const roomId = await world.app.room('alice');
    world.mail.refusals.push({ step: 'mail', code: 451 });
    await invite(roomId, world.address());
    const state = await world.app.must('alice', 'GET', `/rooms/${roomId}/state`);
    const [{ state_key: token }] = state.filter(({ type }: { type: string }) => type === 'm.room.third_party_invite');
    await world.app.setState('alice', roomId, 'm.room.third_party_invite', {}, token);
    await world.app.idle();
    await world.app.services.invitationMails.send(token);
    expect(world.mail.take()).to.deep.equal([]);
  });

  it('is a few mails and no more for one address, however many invite it', async () => {
    const limited = await MailWorld.start({}, { rateLimits: { mail_address: { perSecond: 0.001, burst: 2 } } });
    try {
      for (const inviter of ['one', 'two', 'three', 'four']) {
        const roomId = await limited.app.room(inviter);
        const invitation = { medium: 'email', address: 'popular@mail.test', id_server: 'test' };
        await limited.app.must(inviter, 'POST', `/rooms/${roomId}/invite`, invitation);
      }
      await limited.app.idle();
      expect(limited.mail.take()).to.have.length(2);
    } finally {
      await limited.stop();
    }
  });

  it('shows no names that are advertisements, and no markup of others', async () => {
    await world.app.must('alice', 'PUT', '/user/@alice:test/account_data/org.tsudoi.language', { language: 'en' });
    for (const [name, shown] of [
      ['Win at http://evil.test/now', '@alice:test'],
      ['www.evil.test', '@alice:test'],
      ['evil.test/win', '@alice:test'],
      ['<b>Bold</b>', '<b>Bold</b>'],
      ['a\u202Eb\nc', 'a b c'],
      ['x'.repeat(200), `${'x'.repeat(79)}…`],
    ] as const) {
      await world.app.setProfile('alice', { displayname: name });
      const roomId = await world.app.room('alice');
      await invite(roomId, world.address());
      const mail = world.mail.one();
      expect(mail.parsed.text, name).to.include(`${shown} (@alice:test)`).and.not.include('evil.test');
      expect(String(mail.parsed.html)).to.not.include('<b>').and.not.include('evil.test');
    }
  });
});

describe('a login on a new device', function () {
  this.timeout(60_000);
  let world: MailWorld;
  afterEach(() => world?.stop());

  const logIn = (user: string, more: object = {}, headers: Record<string, string> = {}) =>
    world.app.ask(
      undefined,
      'POST',
      '/login',
      { type: 'm.login.password', identifier: { type: 'm.id.user', user }, password: PASSWORD, ...more },
      { headers },
    );

  it('is told to all addresses of the account, once, in the language of the user', async () => {
    world = await MailWorld.start({ email: { loginNotices: true } });
    const person = await world.register('careful');
    const addresses = [world.address(), world.address()];
    for (const address of addresses) await world.add(person, address);
    const device = { device_id: 'NEW', initial_device_display_name: 'My phone' };
    await logIn('careful', device, { 'Accept-Language': 'ja' });
    await world.app.idle();
    const mails = world.mail.take();
    expect(mails.flatMap(({ to }) => to)).to.have.members(addresses);
    for (const { parsed } of mails) {
      expect(parsed.subject).to.equal('【test】新しい端末からのログイン');
      expect(parsed.text).to.include('My phone').and.include('127.0.0.1').and.include(person.userId);
    }
    await logIn('careful', device);
    await logIn('careful', { ...device, password: 'wrong' });
    await world.app.idle();
    expect(world.mail.take(), 'a device that is known, and a wrong password').to.deep.equal([]);
  });

  it('is told to nobody, unless the operator wants it', async () => {
    world = await MailWorld.start();
    await world.add(await world.register('left-alone'), world.address());
    await logIn('left-alone');
    await world.app.idle();
    expect(world.mail.take()).to.deep.equal([]);
  });
});

describe('an account that is about to expire', function () {
  this.timeout(60_000);
  let world: MailWorld;
  const DAY = 86_400_000;
  before(async () => {
    world = await MailWorld.start({ accountValidity: { enabled: true, periodMs: 30 * DAY } });
  });
  after(() => world?.stop());

  const pass = async (ms: number): Promise<void> => {
    world.app.clock.set(ms);
    await world.app.services.expiryNotices.look(new AbortController().signal);
    await world.app.idle();
  };

  for (const [language, word] of [
    ['en', 'about to end'],
    ['ja', '有効期限が近づいています'],
  ] as const)
    it(`is told to its user a week before, once, with a link that renews it (${language})`, async () => {
      const person = await world.register(`expiring-${language}`);
      await world.add(person, world.address());
      await world.app.must(person.token, 'PUT', `/user/${person.userId}/account_data/org.tsudoi.language`, {
        language,
      });
      await pass(20 * DAY);
      expect(world.mail.take()).to.deep.equal([]);
      await pass(5 * DAY);
      const mail = world.mail.one();
      expect(mail.parsed.subject).to.include(word);
      await pass(DAY);
      expect(world.mail.take()).to.deep.equal([]);
      const { pathname, search } = linkOf(mail, '/_tsudoi/account/renew');
      const page = await (await fetch(world.app.url + pathname + search)).text();
      expect((await world.press(page, pathname)).status).to.equal(200);
      await pass(10 * DAY);
      expect(world.mail.take(), 'it is renewed').to.deep.equal([]);
      expect((await world.app.ask(person.token, 'GET', '/account/whoami')).status).to.equal(200);
      await pass(40 * DAY);
      world.mail.take();
    });
});
