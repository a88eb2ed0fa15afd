import { readdirSync, readFileSync } from 'node:fs';
import { expect } from 'chai';
import type { Page } from 'playwright-core';
import { CaptchaServer } from '#test/support/stand-ins/captcha-server.ts';
import { chromiumProgram, type OpenPage, TestBrowser } from '#test/support/chromium.ts';
import { LOOPBACK_CA_FILE } from '#test/support/stand-ins/identity-server.ts';
import { InProcessServer, type Json } from '#test/support/in-process-server.ts';
import { linkOf } from '#test/support/stand-ins/mail-server.ts';
import { MailWorld } from '#test/integration/mail/mail-world.ts';

const LOGIN = '/_matrix/static/client/login/';
const PASSWORD_PAGE = '/_tsudoi/account/password';
const PASSWORD = 'a long password';

/** What the script of a captcha does: it draws something to press, and calls back with the response in the form. */
const widget = (className: string, response: string): string => `
const place=document.querySelector('.${className}');
const area=document.createElement('textarea');area.name='${response}';area.hidden=true;
const box=document.createElement('span');box.id='puzzle';box.textContent='I am a person: '+place.dataset.sitekey;
box.addEventListener('click',()=>{area.value='${CaptchaServer.SOLVED}';window[place.dataset.callback](area.value)});
place.append(area,box);`;

describe('pages for people, in Chromium', function () {
  this.timeout(120_000);
  let browser: TestBrowser;
  let world: MailWorld;
  before(async function () {
    if (chromiumProgram === undefined) this.skip();
    browser = await TestBrowser.start();
    world = await MailWorld.start();
  });
  after(async () => {
    await browser?.stop();
    await world?.stop();
  });

  const origin = (): string => new URL(world.app.url).origin;
  const person = (username: string): Promise<Json> =>
    world.app.must(undefined, 'POST', '/register', {
      username,
      password: PASSWORD,
      auth: { type: 'm.login.dummy' },
    });
  const says = (page: Page, text: string): Promise<void> => page.getByText(text).first().waitFor();
  const assertContent = ({ complaints, foreign }: OpenPage): void => {
    expect(complaints).to.deep.equal([]);
    expect(foreign, 'nothing of others is loaded').to.deep.equal([]);
  };

  it('log a user in, hand the answer to the app that shows the page, and let them try again', async () => {
    await person('browsing');
    const opened = await browser.page(origin());
    const { page } = opened;
    await page.addInitScript('window.matrixLogin={onLogin:(answer)=>{window.told=answer}}');
    await page.goto(`${world.app.url}${LOGIN}?device_id=SHOWN&initial_device_display_name=App`);
    await page.getByLabel('User name or mail address').fill('browsing');
    await page.getByLabel('Password').fill('wrong');
    await page.getByRole('button').click();
    await says(page, 'User name or password is wrong.');
    await page.getByLabel('Password').fill(PASSWORD);
    await page.getByRole('button').click();
    await says(page, 'You are logged in.');
    const told = (await page.evaluate('window.told')) as Json;
    expect(told).to.include({ user_id: '@browsing:test', device_id: 'SHOWN' });
    expect((await world.app.must(told.access_token, 'GET', '/devices/SHOWN')).display_name).to.equal('App');
    expect(await page.locator('form').isVisible()).to.equal(false);
    assertContent(opened);
  });

  it('change a password, in Japanese too, and leave no session behind', async () => {
    const { access_token: token } = await person('changing');
    const opened = await browser.page(origin(), { language: 'ja' });
    const { page } = opened;
    await page.goto(world.app.url + PASSWORD_PAGE);
    await page.getByLabel('ユーザー名またはメールアドレス').fill('changing');
    await page.getByLabel('現在のパスワード').fill(PASSWORD);
    await page.getByLabel('新しいパスワード', { exact: true }).fill('another password');
    await page.getByLabel('新しいパスワード(確認)').fill('another one');
    await page.getByLabel('すべての端末からログアウトする').uncheck();
    await page.getByRole('button').click();
    await says(page, 'パスワードが一致しません。');
    await page.getByLabel('新しいパスワード(確認)').fill('another password');
    const loggedOut = page.waitForResponse((answer) => answer.url().endsWith('/logout'));
    await page.getByRole('button').click();
    await says(page, 'パスワードを変更しました。');
    await (await loggedOut).finished();
    const { devices } = await world.app.must(token, 'GET', '/devices');
    expect(devices).to.have.lengthOf(1);
    const login = { type: 'm.login.password', identifier: { type: 'm.id.user', user: 'changing' } };
    for (const [password, expected] of [
      [PASSWORD, 403],
      ['another password', 200],
    ] as const)
      expect((await world.app.ask(undefined, 'POST', '/login', { ...login, password })).status).to.equal(expected);
    assertContent(opened);
  });

  it('confirm an address by a button, and by nothing less', async () => {
    const email = world.address();
    const answer = await world.requestToken('register', email);
    await world.app.idle();
    const { pathname, search } = linkOf(world.mail.one(), '/_tsudoi/email/confirm');
    const opened = await browser.page(origin());
    const { page } = opened;
    await page.goto(world.app.url + pathname + search);
    await says(page, 'Confirm your address');
    const register = (): Promise<Json> =>
      world.app.ask(undefined, 'POST', '/register', {
        username: 'confirmed',
        password: PASSWORD,
        auth: {
          type: 'm.login.email.identity',
          threepid_creds: { sid: answer.body.sid, client_secret: `secret_${email.replace(/[^a-z0-9]/gi, '')}` },
        },
      });
    expect((await register()).status).to.equal(401);
    await page.getByRole('button').click();
    await says(page, 'Confirmed');
    assertContent(opened);
  });

  it('make the first administrator, and take the token out of the address', async () => {
    const token = (await world.app.services.firstAdmin.token()) ?? '';
    const opened = await browser.page(origin());
    const { page } = opened;
    await page.goto(`${world.app.url}/_tsudoi/setup?token=${encodeURIComponent(token)}`);
    await page.getByLabel('User name').fill('founder');
    await page.locator('#password').fill(PASSWORD);
    await page.locator('#repeated').fill('another');
    await page.getByRole('button').click();
    await says(page, 'The two passwords differ.');
    await page.locator('#repeated').fill(PASSWORD);
    await page.getByRole('button').click();
    await says(page, '@founder:test administrates this server now.');
    expect(page.url()).to.equal(`${world.app.url}/_tsudoi/setup`);
    assertContent(opened);
  });

  for (const [provider, type, className, response, script] of [
    [
      'recaptcha',
      'm.login.recaptcha',
      'g-recaptcha',
      'g-recaptcha-response',
      'https://www.google.com/recaptcha/api.js',
    ],
    ['hcaptcha', 'org.tsudoi.login.hcaptcha', 'h-captcha', 'h-captcha-response', 'https://js.hcaptcha.com/1/api.js'],
    [
      'turnstile',
      'org.tsudoi.login.turnstile',
      'cf-turnstile',
      'cf-turnstile-response',
      'https://challenges.cloudflare.com/turnstile/v0/api.js',
    ],
  ] as const)
    it(`show the captcha of ${provider}, load its script and nothing else, and tell the client that opened them when it is solved`, async () => {
      const captcha = await CaptchaServer.start();
      const server = await InProcessServer.start({
        config: {
          registration: {
            enabled: true,
            captcha: { provider, siteKey: 'site "key"', secretKey: CaptchaServer.SECRET, verifyUrl: captcha.url },
          },
          federation: { trustedCaFiles: [LOOPBACK_CA_FILE], allowIpRanges: ['127.0.0.0/8'] },
        },
      });
      try {
        const account = { username: 'solver', password: PASSWORD };
        const { session } = (await server.ask(undefined, 'POST', '/register', account)).body;
        const opened = await browser.page(new URL(server.url).origin, {
          answers: { [script]: widget(className, response) },
        });
        const { page, foreign, complaints } = opened;
        // The client lies on this server, and opens the page in a window of its own.
        await page.goto(server.url);
        await page.evaluate("window.addEventListener('message',({data})=>{window.heard=data})");
        const [popup] = await Promise.all([
          page.waitForEvent('popup'),
          page.evaluate(
            `void window.open(${JSON.stringify(`/_matrix/client/v3/auth/${type}/fallback/web?session=${session}`)})`,
          ),
        ]);
        await popup.locator('#puzzle').click();
        await says(popup, 'Thank you');
        await page.waitForFunction("window.heard==='authDone'");
        expect(foreign.map((url) => url.split('?')[0])).to.deep.equal([script]);
        expect(complaints).to.deep.equal([]);
        expect(captcha.asked).to.have.lengthOf(1);
        const done = await server.ask(undefined, 'POST', '/register', { ...account, auth: { session } });
        expect([done.status, done.body.user_id]).to.deep.equal([200, '@solver:test']);
      } finally {
        await server.stop();
        await captcha.stop();
      }
    });

  it('are as wide as the screen of a telephone, and mails as well, which load and run nothing', async () => {
    const opened = await browser.page(origin());
    const { page } = opened;
    await page.setViewportSize({ width: 320, height: 640 });
    const overflow = (): Promise<number> =>
      page.evaluate('document.documentElement.scrollWidth-document.documentElement.clientWidth');
    for (const path of ['/', LOGIN, PASSWORD_PAGE]) {
      await page.goto(world.app.url + path);
      expect(await overflow(), path).to.equal(0);
    }
    // A mail is shown under no policy of ours.
    await page.goto('about:blank');
    const folder = new URL('../../../docs/mails/', import.meta.url);
    const mails = readdirSync(folder).filter((name) => name.endsWith('.html'));
    expect(mails).not.to.be.empty;
    for (const name of mails) {
      await page.setContent(readFileSync(new URL(name, folder), 'utf8'));
      expect(await overflow(), name).to.equal(0);
      expect(await page.locator('script,img,link,iframe').count(), name).to.equal(0);
    }
    assertContent(opened);
  });
});
