import { expect } from 'chai';
import { sql } from '#src/storage/database.ts';
import { linkOf } from '#test/support/stand-ins/mail-server.ts';
import { MailWorld, PASSWORD } from './mail-world.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

describe('mail about missed messages', function () {
  this.timeout(60_000);
  let world: MailWorld;
  let reader: { userId: string; token: string; email: string };
  let count = 0;
  before(async () => {
    world = await MailWorld.start();
  });
  after(() => world?.stop());
  beforeEach(async () => {
    count += 1;
    const person = await world.register(`reader${count}`);
    const email = world.address();
    await world.add(person, email);
    reader = { ...person, email };
  });

  const pusher = (more: object = {}): object => ({
    kind: 'email',
    app_id: 'm.email',
    pushkey: reader.email,
    app_display_name: 'Email Notifications',
    device_display_name: reader.email,
    lang: 'en',
    data: { brand: 'Element' },
    ...more,
  });
  const subscribe = (more: object = {}) => world.app.must(reader.token, 'POST', '/pushers/set', pusher(more));
  const roomWithReader = async (wish: object = {}): Promise<string> => {
    const roomId = await world.app.room('writer', { preset: 'public_chat', ...wish });
    await world.app.must(reader.token, 'POST', `/rooms/${roomId}/join`, {});
    return roomId;
  };
  /** Lets time pass, and does what the repeated job does then. */
  const pass = async (ms: number): Promise<void> => {
    world.app.clock.set(ms);
    await world.app.services.digests.look(new AbortController().signal);
    await world.app.idle();
  };

  for (const [lang, subject, more] of [
    ['en', 'You have missed messages of Writer: The room', 'and one more'],
    ['ja-JP', '「The room」に Writer さんからの未読のメッセージがあります', 'ほか 1 件'],
  ] as const)
    it(`comes once they were unread for ten minutes, all in one, in the language of the pusher (${lang})`, async () => {
      await world.app.setProfile('writer', { displayname: 'Writer' });
      const roomId = await roomWithReader({ name: 'The room' });
      await world.app.say('writer', roomId, 'before there was a pusher');
      await pass(1_000);
      await subscribe({ lang });
      await pass(1_000);
      for (const text of ['first <i>', 'second', 'third', 'fourth', 'fifth', 'sixth & last'])
        await world.app.say('writer', roomId, text);
      await pass(9 * MINUTE);
      expect(world.mail.take()).to.deep.equal([]);
      await pass(2 * MINUTE);
      const mail = world.mail.one();
      expect(mail.to).to.deep.equal([reader.email]);
      expect(mail.parsed.subject).to.equal(subject);
      expect(mail.parsed.text).to.include('sixth & last').and.include(more).and.not.include('before there was');
      expect(String(mail.parsed.html)).to.include('sixth &amp; last');
      await pass(HOUR);
      expect(world.mail.take(), 'what was told is not told again').to.deep.equal([]);
    });

  it('does not come for what was read meanwhile, is in a muted room, or was said by an ignored user', async () => {
    await subscribe();
    await pass(1_000);
    const [read, muted, other] = [await roomWithReader(), await roomWithReader(), await roomWithReader()];
    await world.app.must(reader.token, 'PUT', `/pushrules/global/override/${muted}`, {
      conditions: [{ kind: 'event_match', key: 'room_id', pattern: muted }],
      actions: [],
    });
    const ignoring = { ignored_users: { '@bore:test': {} } };
    await world.app.must(reader.token, 'PUT', `/user/${reader.userId}/account_data/m.ignored_user_list`, ignoring);
    await world.app.join('bore', other);
    const event = await world.app.say('writer', read, 'seen');
    await world.app.say('writer', muted, 'unheard');
    await world.app.say('bore', other, 'ignored');
    await world.app.must(reader.token, 'POST', `/rooms/${read}/receipt/m.read/${event}`, {});
    await pass(15 * MINUTE);
    expect(world.mail.take()).to.deep.equal([]);
  });

  it('shows that something encrypted came, and nothing of it', async () => {
    await subscribe();
    await pass(1_000);
    const roomId = await roomWithReader();
    await world.app.must('writer', 'PUT', `/rooms/${roomId}/send/m.room.encrypted/t${count}`, {
      algorithm: 'm.megolm.v1.aes-sha2',
      ciphertext: 'CIPHERTEXT',
    });
    await pass(15 * MINUTE);
    const mail = world.mail.one();
    expect(mail.parsed.text).to.include('(an encrypted message)').and.not.include('CIPHERTEXT');
  });

  it('rests the longer the more often it comes, and begins anew after a calm time', async () => {
    await subscribe();
    await pass(1_000);
    const roomId = await roomWithReader();
    const mailsAfter = async (ms: number): Promise<number> => {
      await world.app.say('writer', roomId, 'again');
      await pass(ms);
      return world.mail.take().length;
    };
    expect(await mailsAfter(11 * MINUTE)).to.equal(1);
    expect(await mailsAfter(11 * MINUTE)).to.equal(1);
    expect(await mailsAfter(11 * MINUTE), 'a day of rest').to.equal(0);
    expect(await mailsAfter(11 * HOUR)).to.equal(0);
    await pass(13 * HOUR);
    expect(world.mail.take(), 'all that came meanwhile').to.have.length(1);
    await pass(13 * HOUR);
    expect(await mailsAfter(11 * MINUTE)).to.equal(1);
  });

  it('ends by one request of the mail program, without a login, and by a page that asks first', async () => {
    await subscribe();
    await pass(1_000);
    const roomId = await roomWithReader();
    await world.app.say('writer', roomId, 'hello');
    await pass(11 * MINUTE);
    const mail = world.mail.one();
    expect(mail.raw).to.match(/^List-Unsubscribe-Post: List-Unsubscribe=One-Click\r?$/m);
    const { pathname, search } = linkOf(mail, '/_tsudoi/email/unsubscribe');
    const header = /^List-Unsubscribe:\s*<([^>]*)>/m.exec(mail.raw);
    expect(header?.[1]).to.equal(`https://test${pathname}${search}`);
    const pushers = async () => (await world.app.must(reader.token, 'GET', '/pushers')).pushers;
    const page = await fetch(world.app.url + pathname + search, { headers: { 'Accept-Language': 'ja' } });
    expect([page.status, await pushers()].flat()).to.have.length(2);
    expect(await page.text())
      .to.include('<form method="post"')
      .and.include('停止');
    const wrong = await fetch(world.app.url + pathname + search.replace(/token=./, 'token=x'), { method: 'POST' });
    expect([wrong.status, (await pushers()).length]).to.deep.equal([400, 1]);
    const oneClick = { method: 'POST', body: new URLSearchParams({ 'List-Unsubscribe': 'One-Click' }) };
    for (let times = 0; times < 2; times++)
      expect((await fetch(world.app.url + pathname + search, oneClick)).status).to.equal(200);
    expect(await pushers()).to.deep.equal([]);
    await world.app.say('writer', roomId, 'more');
    await pass(2 * HOUR);
    expect(world.mail.take()).to.deep.equal([]);
  });

  it('goes to addresses of the account only, and stays with them when the device is logged out', async () => {
    const strange = await world.app.ask(reader.token, 'POST', '/pushers/set', pusher({ pushkey: 'other@mail.test' }));
    expect([strange.status, strange.body.errcode]).to.deep.equal([400, 'M_THREEPID_NOT_FOUND']);
    const wrongApp = await world.app.ask(reader.token, 'POST', '/pushers/set', pusher({ app_id: 'im.other' }));
    expect([wrongApp.status, wrongApp.body.errcode]).to.deep.equal([400, 'M_INVALID_PARAM']);
    await subscribe();
    await pass(1_000);
    const roomId = await roomWithReader();
    await world.app.must(reader.token, 'POST', '/logout', {});
    await world.app.say('writer', roomId, 'still there?');
    await pass(11 * MINUTE);
    world.mail.one();
    await world.app.services.accountThreepids.remove(reader.userId, { medium: 'email', address: reader.email });
    await world.app.say('writer', roomId, 'and now?');
    await pass(2 * 24 * HOUR);
    expect(world.mail.take()).to.deep.equal([]);
  });

  it('is ended by nobody else, whatever they call an application of theirs', async () => {
    await subscribe();
    const http = { kind: 'http', data: { url: 'https://push.test/_matrix/push/v1/notify' } };
    await world.app.must('writer', 'POST', '/pushers/set', pusher(http));
    expect((await world.app.must(reader.token, 'GET', '/pushers')).pushers).to.have.length(1);
  });

  it('becomes nothing that stays when its device is logged out', async () => {
    await subscribe();
    const session = { type: 'm.login.password', identifier: { type: 'm.id.user', user: reader.userId } };
    const { access_token: token } = await world.app.must(undefined, 'POST', '/login', {
      ...session,
      password: PASSWORD,
    });
    const http = { kind: 'http', data: { url: 'https://push.test/_matrix/push/v1/notify' } };
    await world.app.must(token, 'POST', '/pushers/set', pusher(http));
    await world.app.must(token, 'POST', '/logout', {});
    expect((await world.app.must(reader.token, 'GET', '/pushers')).pushers).to.deep.equal([]);
  });

  it('goes to the mailbox that was validated, however the pusher writes it', async () => {
    const email = `strasse${count}@fass.mail.test`;
    await world.add(reader, email);
    await subscribe({ pushkey: `Straße${count}@faß.mail.test` });
    await pass(1_000);
    await world.app.say('writer', await roomWithReader(), 'where to?');
    await pass(11 * MINUTE);
    expect(world.mail.one().to).to.deep.equal([email]);
  });

  it('is not kept back by a message that claims to be of a later time', async () => {
    await subscribe();
    await pass(1_000);
    const roomId = await roomWithReader();
    await world.app.say('writer', roomId, 'first');
    await world.app.say('writer', roomId, 'from the future');
    const later = world.app.clock.now() + 400 * 24 * HOUR;
    await world.app.services.database.query(
      sql(
        'test_event_ts',
        'update events set ts = $1 where nid = (select max(e.nid) from events e join rooms r on r.nid = e.room where r.room_id = $2)',
      ),
      [later, roomId],
    );
    await pass(11 * MINUTE);
    expect(world.mail.one().parsed.text).to.include('first');
    await world.app.say('writer', roomId, 'second');
    await pass(25 * HOUR);
    expect(world.mail.one().parsed.text).to.include('second');
  });

  it('is the same mail when it is tried again, whatever was said meanwhile', async () => {
    await subscribe();
    await pass(1_000);
    const roomId = await roomWithReader();
    await world.app.say('writer', roomId, 'first');
    world.mail.refusals.push({ step: 'data', code: 451 });
    await pass(11 * MINUTE);
    expect(world.mail.take()).to.deep.equal([]);
    await world.app.say('writer', roomId, 'meanwhile');
    // What the job does when its time has come.
    const [{ id } = { id: 0 }] = await world.app.services.pushers.list(reader.userId);
    await world.app.services.digests.send(id);
    expect(world.mail.one().parsed.text).to.include('first').and.not.include('meanwhile');
  });
});
