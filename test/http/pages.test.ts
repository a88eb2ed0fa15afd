import { createHash } from 'node:crypto';
import { runInNewContext } from 'node:vm';
import { expect } from 'chai';
import { languageOf } from '#src/http/pages/page.ts';
import { InProcessServer, type Json } from '#test/support/in-process-server.ts';

const LOGIN = '/_matrix/static/client/login/';
const PASSWORD_PAGE = '/_tsudoi/account/password';
const PASSWORD = 'a long password';

/** A page as a browser has it: what it may run, and its elements as far as its script looks at them. */
class ShownPage {
  readonly status = { textContent: '' };
  readonly button = { disabled: false };
  readonly fields: Json;
  readonly window: Json = {};
  #submit!: (event: { preventDefault(): void }) => Promise<void>;

  constructor(url: string, html: string, fields: Record<string, string>) {
    const { button, status } = this;
    this.fields = {
      hidden: false,
      reset: () => undefined,
      addEventListener: (_: string, listener: never) => (this.#submit = listener),
      querySelector: () => button,
      dataset: Object.fromEntries([...html.matchAll(/data-(\w+)="([^"]*)"/g)].map(([, name, value]) => [name, value])),
    };
    for (const [name, value] of Object.entries(fields)) this.fields[name] = { value, checked: true };
    const [, script = ''] = /<script>([\s\S]*)<\/script>/.exec(html) ?? [];
    const { href, origin, pathname, search } = new URL(url);
    runInNewContext(script, {
      window: this.window,
      document: { querySelector: (which: string) => (which === 'form' ? this.fields : status) },
      location: { href, pathname, search },
      URLSearchParams,
      fetch: (path: string, init: RequestInit) => fetch(origin + path, init),
    });
  }

  submit(): Promise<void> {
    return this.#submit({ preventDefault: () => undefined });
  }
}

describe('pages for people', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  before(async () => {
    server = await InProcessServer.start();
    for (const username of ['alice', 'changer'])
      await server.must(undefined, 'POST', '/register', {
        username,
        password: PASSWORD,
        auth: { type: 'm.login.dummy' },
      });
  });
  after(() => server?.stop());

  const load = async (path: string, language = 'en'): Promise<{ html: string; headers: Headers }> => {
    const answer = await fetch(server.url + path, { headers: { 'Accept-Language': language } });
    expect(answer.status, path).to.equal(200);
    return { html: await answer.text(), headers: answer.headers };
  };
  const show = async (path: string, fields: Record<string, string>): Promise<ShownPage> =>
    new ShownPage(server.url + path, (await load(path)).html, fields);

  it('are in Japanese or English, as the browser likes it better', async () => {
    for (const [header, language] of [
      [undefined, 'en'],
      ['', 'en'],
      ['de', 'en'],
      ['ja', 'ja'],
      ['ja-JP,ja;q=0.9,en;q=0.8', 'ja'],
      ['en-US,en;q=0.9,ja;q=0.8', 'en'],
      ['de, ja;q=0.3, en;q=0.2', 'ja'],
      ['ja;q=0, en;q=0.1', 'en'],
      ['*;q=x, ja;q=..', 'en'],
    ] as const)
      expect(languageOf(header), header).to.equal(language);
    expect((await load(LOGIN, 'ja')).html)
      .to.include('<html lang="ja">')
      .and.include('パスワード');
    expect((await load(LOGIN, 'en')).html)
      .to.include('<html lang="en">')
      .and.include('Password');
  });

  it('run their own script and nothing else, and are shown in no frame', async () => {
    for (const path of [LOGIN, LOGIN.slice(0, -1), PASSWORD_PAGE]) {
      const { html, headers } = await load(path);
      const policy = headers.get('content-security-policy') ?? '';
      const scripts = [...html.matchAll(/<script>([\s\S]*?)<\/script>/g)].map(([, text = '']) => text);
      expect(scripts).to.have.length(1);
      const hash = createHash('sha256').update(scripts[0]!).digest('base64');
      expect(policy).to.include(`script-src 'sha256-${hash}'`).and.include("default-src 'none'");
      expect(policy).to.include("frame-ancestors 'none'").and.not.include('unsafe-inline');
      expect(html).not.to.match(/ on\w+=|javascript:|style=/);
      expect(headers.get('vary')).to.include('Accept-Language');
    }
  });

  it('log a user in, and hand the answer of /login to the app that shows the page', async () => {
    const shown = await show(`${LOGIN}?device_id=EMBEDDED&initial_device_display_name=App&password=ignored`, {
      user: ' alice ',
      password: PASSWORD,
    });
    const logins: Json[] = [];
    shown.window.matrixLogin.onLogin = (answer: Json) => logins.push(answer);
    await shown.submit();
    expect(logins).to.have.length(1);
    expect(logins[0]).to.include({ user_id: '@alice:test', device_id: 'EMBEDDED' });
    const devices = await server.must(logins[0].access_token, 'GET', '/devices/EMBEDDED');
    expect(devices.display_name).to.equal('App');
    expect(shown.fields.hidden).to.equal(true);
    expect(shown.fields.password.value).to.equal('');
  });

  it('say what was wrong, and let the user try again', async () => {
    const shown = await show(LOGIN, { user: 'alice', password: 'wrong' });
    await shown.submit();
    expect(shown.status.textContent).to.equal('User name or password is wrong.');
    expect(shown.button.disabled).to.equal(false);
  });

  it('change a password, and leave no device behind', async () => {
    const fields = { user: 'changer', password: PASSWORD, wanted: 'another password', repeated: 'other', others: '' };
    const shown = await show(PASSWORD_PAGE, fields);
    await shown.submit();
    expect(shown.status.textContent).to.equal('The two passwords differ.');
    shown.fields.repeated.value = fields.wanted;
    shown.fields.password.value = 'not it';
    await shown.submit();
    expect(shown.status.textContent).to.equal('User name or password is wrong.');
    shown.fields.password.value = PASSWORD;
    await shown.submit();
    expect(shown.status.textContent).to.equal('Your password is changed.');
    const { access_token: token } = await server.must(undefined, 'POST', '/login', {
      type: 'm.login.password',
      identifier: { type: 'm.id.user', user: 'changer' },
      password: 'another password',
    });
    expect((await server.must(token, 'GET', '/devices')).devices).to.have.length(1);
  });
});
