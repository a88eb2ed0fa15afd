import { expect } from 'chai';
import type { Page } from 'playwright-core';
import { chromiumProgram, type OpenPage, TestBrowser } from '#test/support/chromium.ts';
import type { Json } from '#test/support/in-process-server.ts';
import { linkOf } from '#test/support/stand-ins/mail-server.ts';
import { MailWorld, PASSWORD } from '#test/integration/mail/mail-world.ts';

const NEW_PASSWORD = 'another horse, another battery';
const MINUTE = 60_000;
const TERMS = {
  privacy_policy: {
    version: '1',
    en: { name: 'Privacy policy', url: 'https://terms.test/privacy' },
    ja: { name: 'プライバシーポリシー', url: 'https://terms.test/privacy.ja' },
  },
  rules: { version: '3', en: { name: 'Rules', url: 'https://terms.test/rules' } },
};

const SAID = {
  en: {
    title: 'Registration token',
    wrong: 'That was not right. Try again.',
    sent: 'A mail with a link is on its way',
    notYet: 'has not been followed yet',
    done: 'Thank you',
    document: 'Privacy policy',
    confirm: 'Confirm',
    confirmed: 'Confirmed',
    careful: 'only if it was you',
    reset: 'Set a new password?',
    add: 'Add this address to your account?',
    expired: 'This link has expired',
    stopped: 'You get no more mails',
    renew: 'Go on using your account?',
    renewed: 'Your account is renewed',
    spent: 'This link is not good any more',
  },
  ja: {
    title: '登録トークン',
    wrong: '正しくありません。もう一度お試しください。',
    sent: '確認用のリンクを送信しました',
    notYet: 'まだ確認されていません',
    done: '完了しました',
    document: 'プライバシーポリシー',
    confirm: '確認する',
    confirmed: '確認しました',
    careful: 'ご自身で手続きをした場合',
    reset: 'パスワードを再設定しますか?',
    add: 'このアドレスをアカウントに追加しますか?',
    expired: 'リンクの有効期限が切れたか',
    stopped: '停止しました',
    renew: 'アカウントを引き続き利用しますか?',
    renewed: 'アカウントを更新しました',
    spent: 'このリンクは無効です',
  },
} as const;

const says = (page: Page, text: string): Promise<void> => page.getByText(text).first().waitFor();
const press = (page: Page): Promise<void> => page.getByRole('button').click();

describe('pages of stages and of links in mails, in Chromium', function () {
  this.timeout(120_000);
  let browser: TestBrowser;
  let world: MailWorld;
  let guarded: MailWorld;
  before(async function () {
    if (chromiumProgram === undefined) this.skip();
    [browser, world, guarded] = await Promise.all([
      TestBrowser.start(),
      MailWorld.start({ accountValidity: { enabled: true }, email: { nextLinkHosts: ['next.test'] } }),
      MailWorld.start({ registration: { enabled: true, requiresToken: true, terms: TERMS } }),
    ]);
  });
  after(async () => {
    await browser?.stop();
    await world?.stop();
    await guarded?.stop();
  });

  const open = (where: MailWorld, language: string): Promise<OpenPage> =>
    browser.page(new URL(where.app.url).origin, { language });
  const assertContent = ({ complaints, foreign }: OpenPage): void => {
    expect(complaints).to.deep.equal([]);
    expect(foreign, 'nothing of others is loaded').to.deep.equal([]);
  };
  const follow = async (page: Page, where: MailWorld, path: string): Promise<void> => {
    await where.app.idle();
    const { pathname, search } = linkOf(where.mail.one(), path);
    await page.goto(where.app.url + pathname + search);
  };

  for (const language of ['en', 'ja'] as const) {
    const texts = SAID[language];

    /** A window in which a client shows the page of a stage, and what that tells the client at its end. */
    const stage = async (
      where: MailWorld,
      type: string,
      session: string,
      complete: (page: Page, opened: OpenPage) => Promise<void>,
    ): Promise<void> => {
      const opened = await open(where, language);
      const { page } = opened;
      await page.goto(where.app.url);
      await page.evaluate("window.addEventListener('message',({data})=>{window.heard=data})");
      const path = `/_matrix/client/v3/auth/${type}/fallback/web?session=${session}`;
      const [popup] = await Promise.all([
        page.waitForEvent('popup'),
        page.evaluate(`void window.open(${JSON.stringify(path)})`),
      ]);
      popup.on('console', (message) => {
        if (message.type() === 'error' && !message.text().startsWith('Failed to load resource'))
          opened.complaints.push(message.text());
      });
      await popup.locator('main').waitFor();
      expect(await popup.locator('html').getAttribute('lang')).to.equal(language);
      await complete(popup, opened);
      await says(popup, texts.done);
      await page.waitForFunction("window.heard==='authDone'");
      assertContent(opened);
    };

    const token = async (session: string): Promise<void> => {
      const { token: value } = await guarded.app.must(
        'admin-root',
        'POST',
        '/_synapse/admin/v1/registration_tokens/new',
        {},
      );
      await stage(guarded, 'm.login.registration_token', session, async (page) => {
        await says(page, texts.title);
        await page.locator('#token').fill('not one');
        await press(page);
        await says(page, texts.wrong);
        await page.locator('#token').fill(value);
        await press(page);
      });
    };
    const terms = (session: string): Promise<void> =>
      stage(guarded, 'm.login.terms', session, async (page) => {
        const link = page.getByRole('link', { name: texts.document });
        expect(await link.getAttribute('href')).to.equal(TERMS.privacy_policy[language].url);
        await page.getByRole('checkbox').first().check();
        await press(page);
        // The browser sends nothing as long as one of them is not accepted.
        expect(await page.evaluate("document.querySelector('form').checkValidity()")).to.equal(false);
        await page.getByRole('checkbox').last().check();
        await press(page);
      });
    const begin = async (username: string): Promise<{ wish: Json; session: string }> => {
      const wish = { username, password: PASSWORD };
      const { body, status } = await guarded.app.ask(undefined, 'POST', '/register', wish);
      expect(status).to.equal(401);
      return { wish, session: body.session };
    };

    it(`complete a registration by token, mail and terms (${language})`, async () => {
      const { session, wish } = await begin(`mailed-${language}`);
      await token(session);
      const email = guarded.address();
      await stage(guarded, 'm.login.email.identity', session, async (page) => {
        await page.locator('#email').fill(email);
        await press(page);
        await says(page, texts.sent);
        await press(page);
        await says(page, texts.notYet);
        const mail = await open(guarded, language);
        await follow(mail.page, guarded, '/_tsudoi/email/confirm');
        await says(mail.page, texts.careful);
        await press(mail.page);
        await says(mail.page, texts.confirmed);
        assertContent(mail);
        await press(page);
      });
      await terms(session);
      const made = await guarded.app.must(undefined, 'POST', '/register', { ...wish, auth: { session } });
      expect((await guarded.threepids(made.access_token)).map(({ address }) => address)).to.deep.equal([email]);
    });

    it(`complete a registration without a mail, and a stage that asks for the password (${language})`, async () => {
      const { session, wish } = await begin(`plain-${language}`);
      await token(session);
      await stage(guarded, 'm.login.dummy', session, press);
      await terms(session);
      const made = await guarded.app.must(undefined, 'POST', '/register', { ...wish, auth: { session } });
      const login = { type: 'm.login.password', identifier: { type: 'm.id.user', user: wish.username } };
      const second = await guarded.app.must(undefined, 'POST', '/login', { ...login, password: PASSWORD });
      const path = `/devices/${second.device_id}`;
      const asked = await guarded.app.ask(made.access_token, 'DELETE', path, {});
      await stage(guarded, 'm.login.password', asked.body.session, async (page) => {
        await says(page, made.user_id);
        await page.locator('#password').fill('wrong');
        await press(page);
        await says(page, texts.wrong);
        await page.locator('#password').fill(PASSWORD);
        await press(page);
      });
      await guarded.app.must(made.access_token, 'DELETE', path, { auth: { session: asked.body.session } });
      expect((await guarded.app.ask(made.access_token, 'GET', path)).status).to.equal(404);
    });

    it(`give a new password to whoever follows the link in the mail, and lead on where the operator allows it (${language})`, async () => {
      const person = await world.register(`forgets-${language}`);
      const email = world.address();
      await world.add(person, email);
      const headers = { 'Accept-Language': language };
      const more = { next_link: 'https://next.test/welcome' };
      const { body } = await world.requestToken('account/password', email, more, headers);
      const opened = await open(world, language);
      const { page } = opened;
      await follow(page, world, '/_tsudoi/email/confirm');
      await says(page, texts.reset);
      await says(page, email);
      // The other server is not there: that the browser asked it is what counts.
      const left = page.waitForRequest(more.next_link);
      await page.getByRole('button', { name: texts.confirm }).click();
      await left;
      expect(opened.complaints).to.deep.equal([]);
      const credentials = { sid: body.sid, client_secret: `secret_${email.replace(/[^a-z0-9]/gi, '')}` };
      await world.app.must(undefined, 'POST', '/account/password', {
        new_password: NEW_PASSWORD,
        auth: { type: 'm.login.email.identity', threepid_creds: credentials },
      });
      const login = { type: 'm.login.password', identifier: { type: 'm.id.user', user: person.userId } };
      await world.app.must(undefined, 'POST', '/login', { ...login, password: NEW_PASSWORD });
    });

    it(`add an address to an account, and say when a link is used up (${language})`, async () => {
      const person = await world.register(`adds-${language}`);
      const email = world.address();
      const { body } = await world.requestToken('account/3pid', email, {}, { 'Accept-Language': language });
      const opened = await open(world, language);
      const { page } = opened;
      await follow(page, world, '/_tsudoi/email/confirm');
      const link = page.url();
      await says(page, texts.add);
      await press(page);
      await says(page, texts.confirmed);
      await world.app.must(person.token, 'POST', '/account/3pid/add', {
        sid: body.sid,
        client_secret: `secret_${email.replace(/[^a-z0-9]/gi, '')}`,
        auth: world.passwordAuth(person.userId),
      });
      await page.goto(link);
      await says(page, texts.expired);
      assertContent(opened);
    });

    it(`end the mails about missed messages by a button (${language})`, async () => {
      const person = await world.register(`reads-${language}`);
      const email = world.address();
      await world.add(person, email);
      const pass = async (ms: number): Promise<void> => {
        world.app.clock.set(ms);
        await world.app.services.digests.look(new AbortController().signal);
        await world.app.idle();
      };
      await world.app.must(person.token, 'POST', '/pushers/set', {
        kind: 'email',
        app_id: 'm.email',
        pushkey: email,
        app_display_name: 'Mail',
        device_display_name: email,
        lang: language,
        data: {},
      });
      await pass(1_000);
      const roomId = await world.app.room('writer', { preset: 'public_chat' });
      await world.app.must(person.token, 'POST', `/rooms/${roomId}/join`, {});
      await world.app.say('writer', roomId, 'hello');
      await pass(11 * MINUTE);
      const pushers = async (): Promise<Json[]> => (await world.app.must(person.token, 'GET', '/pushers')).pushers;
      const opened = await open(world, language);
      await follow(opened.page, world, '/_tsudoi/email/unsubscribe');
      expect(await pushers()).to.have.length(1);
      await press(opened.page);
      await says(opened.page, texts.stopped);
      expect(await pushers()).to.deep.equal([]);
      assertContent(opened);
    });

    it(`renew an account by a button, once (${language})`, async () => {
      const { userId } = await world.register(`renews-${language}`);
      const value = (await world.app.services.accountValidity.renewalToken(userId)) ?? '';
      const before = (await world.app.services.accountValidity.of(userId)) ?? 0;
      world.app.clock.set(MINUTE);
      const link = `${world.app.url}/_tsudoi/account/renew?${String(new URLSearchParams({ user_id: userId, token: value }))}`;
      const opened = await open(world, language);
      const { page } = opened;
      await page.goto(link);
      await says(page, texts.renew);
      await says(page, userId);
      expect(await world.app.services.accountValidity.of(userId)).to.equal(before);
      await press(page);
      await says(page, texts.renewed);
      expect(await world.app.services.accountValidity.of(userId)).to.equal(before + MINUTE);
      await page.goto(link);
      await says(page, texts.spent);
      assertContent(opened);
    });
  }
});
