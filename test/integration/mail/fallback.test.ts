import { expect } from 'chai';
import { MailWorld, PASSWORD } from './mail-world.ts';

const STAGE = 'm.login.email.identity';

describe('the page of the mail stage, for clients that know nothing of it', function () {
  this.timeout(60_000);
  let world: MailWorld;
  before(async () => {
    world = await MailWorld.start({ registration: { requiresEmail: true } });
  });
  after(() => world?.stop());

  const send = (session: string, fields: Record<string, string>, language: string): Promise<Response> =>
    fetch(`${world.app.url}/_matrix/client/v3/auth/${STAGE}/fallback/web?session=${session}`, {
      method: 'POST',
      headers: { 'Accept-Language': language },
      body: new URLSearchParams(fields),
    });
  const sidOf = (page: string): string => /name="sid" value="([^"]+)"/.exec(page)?.[1] ?? '';

  for (const [language, sent, notYet, done] of [
    ['en', 'A mail with a link is on its way', 'has not been followed yet', 'Thank you'],
    ['ja', '確認用のリンクを送信しました', 'まだ確認されていません', '完了しました'],
  ] as const)
    it(`asks for an address, has the mail sent, and continues once its link was followed (${language})`, async () => {
      const wish = { username: `by-page-${language}`, password: PASSWORD };
      const { session } = (await world.app.ask(undefined, 'POST', '/register', wish)).body;
      const path = `/_matrix/client/v3/auth/${STAGE}/fallback/web?session=${session}`;
      const first = await fetch(world.app.url + path, { headers: { 'Accept-Language': language } });
      expect(await first.text())
        .to.include('name="email"')
        .and.include(`<html lang="${language}"`);
      const email = world.address();
      const second = await (await send(session, { email }, language)).text();
      expect(second).to.include(sent).and.include(email);
      await world.app.idle();
      const mail = world.mail.one();
      expect([mail.to, mail.parsed.headers.get('content-language')]).to.deep.equal([[email], language]);
      const early = await send(session, { email, sid: sidOf(second) }, language);
      expect(early.status).to.equal(401);
      expect(await early.text())
        .to.include(notYet)
        .and.include(sidOf(second));
      await world.follow(mail);
      const last = await send(session, { email, sid: sidOf(second) }, language);
      expect([last.status, (await last.text()).includes(done)]).to.deep.equal([200, true]);
      const made = await world.app.must(undefined, 'POST', '/register', { ...wish, auth: { session } });
      expect(await world.threepids(made.access_token)).to.have.length(1);
    });

  it('sends another mail when it is asked to, and says what is wrong with an address', async () => {
    const { session } = (await world.app.ask(undefined, 'POST', '/register', {})).body;
    const email = world.address();
    for (let times = 0; times < 2; times++) {
      world.app.clock.set(1_000);
      await send(session, { email }, 'en');
      await world.app.idle();
      world.mail.one();
    }
    for (const wrong of ['nobody', 'a@b\nBcc: c@d', '"><script>@x.test']) {
      const answer = await send(session, { email: wrong }, 'en');
      const page = await answer.text();
      expect(answer.status).to.equal(400);
      expect(page).to.include('cannot be used here').and.not.include('<script>');
    }
    const strange = await send(session, { email, sid: 'x' }, 'en');
    expect(strange.status).to.equal(401);
    await world.app.idle();
    expect(world.mail.take()).to.deep.equal([]);
  });
});
