import { runInNewContext } from 'node:vm';
import { expect } from 'chai';
import { CaptchaServer } from '#test/support/stand-ins/captcha-server.ts';
import { LOOPBACK_CA_FILE } from '#test/support/stand-ins/identity-server.ts';
import { OPERATOR } from '#src/services/audit/actor.ts';
import { type ConfigChanges, InProcessServer, type Json } from '#test/support/in-process-server.ts';
import { listAcceptedTerms } from '#src/storage/accounts/accepted-terms.ts';

const PASSWORD = 'a long password';
const TERMS = {
  privacy_policy: {
    version: '1.2',
    en: { name: 'Privacy <policy>', url: 'https://test/privacy' },
    ja: { name: 'プライバシーポリシー', url: 'https://test/privacy.ja?a=1&b="2"' },
  },
  rules: { version: '3', en: { name: 'Rules', url: 'https://test/rules' } },
};

/** One request for a page, as a browser makes it. */
interface Shown {
  readonly status: number;
  readonly html: string;
  readonly policy: string;
}

describe('stages of registration', function () {
  this.timeout(60_000);
  let captcha: CaptchaServer;
  const servers: InProcessServer[] = [];
  const started = async (
    registration: NonNullable<ConfigChanges['registration']>,
    rateLimits?: Record<string, { perSecond: number; burst: number }>,
  ): Promise<InProcessServer> => {
    const server = await InProcessServer.start({
      config: {
        registration,
        federation: { trustedCaFiles: [LOOPBACK_CA_FILE], allowIpRanges: ['127.0.0.0/8'] },
      },
      ...(rateLimits === undefined ? {} : { rateLimits }),
    });
    servers.push(server);
    return server;
  };
  const withCaptcha = (provider: 'recaptcha' | 'hcaptcha' | 'turnstile', secretKey = CaptchaServer.SECRET) => ({
    captcha: { provider, siteKey: 'site "key"', secretKey, verifyUrl: captcha.url },
  });
  const register = (server: InProcessServer, username: string, auth?: object): Promise<Json> =>
    server.ask(undefined, 'POST', '/register', {
      username,
      password: PASSWORD,
      ...(auth === undefined ? {} : { auth }),
    });
  const begin = async (server: InProcessServer, username: string): Promise<string> =>
    (await register(server, username)).body.session;
  const page = async (
    server: InProcessServer,
    type: string,
    session: string,
    form?: Record<string, string>,
    language = 'en',
  ): Promise<Shown> => {
    const url = `${server.url}/_matrix/client/v3/auth/${type}/fallback/web?session=${session}`;
    const headers = { 'Accept-Language': language };
    const answer = await fetch(
      url,
      form === undefined ? { headers } : { method: 'POST', headers, body: new URLSearchParams(form) },
    );
    return {
      status: answer.status,
      html: await answer.text(),
      policy: answer.headers.get('content-security-policy') ?? '',
    };
  };
  /** What the page tells the client that opened it. */
  const told = ({ html }: Shown): unknown[] => {
    const messages: unknown[] = [];
    for (const [, script = ''] of html.matchAll(/<script>([\s\S]*?)<\/script>/g))
      runInNewContext(script, {
        window: { opener: { postMessage: (...message: unknown[]) => messages.push(message) } },
      });
    return messages;
  };

  before(async () => {
    captcha = await CaptchaServer.start();
  });
  afterEach(async () => {
    captcha.instead = undefined;
    captcha.asked.length = 0;
    await Promise.all(servers.splice(0).map((server) => server.stop()));
  });
  after(() => captcha?.stop());

  describe('the terms', () => {
    it('are shown with their versions and languages, and which a user accepted is kept', async () => {
      const server = await started({ enabled: true, terms: TERMS });
      const { status, body } = await register(server, 'alice');
      expect([status, body.flows]).to.deep.equal([401, [{ stages: ['m.login.terms'] }]]);
      expect(body.params).to.deep.equal({ 'm.login.terms': { policies: TERMS } });
      const { session } = body;
      expect((await register(server, 'alice', { type: 'm.login.dummy', session })).body.errcode).to.equal(
        'M_UNRECOGNIZED',
      );
      expect((await register(server, 'alice', { type: 'm.login.terms', session })).status).to.equal(200);
      const accepted = await server.services.database.read((tx) => listAcceptedTerms(tx, '@alice:test'));
      const acceptedTs = server.clock.now();
      expect(accepted).to.deep.equal([
        { policy: 'privacy_policy', version: '1.2', acceptedTs },
        { policy: 'rules', version: '3', acceptedTs },
      ]);
    });

    it('are asked of guests who become users', async () => {
      const server = await started({ enabled: true, guests: true, terms: TERMS });
      const guest = (await server.ask(undefined, 'POST', '/register?kind=guest', {})).body;
      const username = guest.user_id.slice(1, -':test'.length);
      const auth = { type: 'm.login.terms' };
      const wish = { username, password: PASSWORD, guest_access_token: guest.access_token };
      expect((await server.ask(undefined, 'POST', '/register', wish)).status).to.equal(401);
      await server.must(undefined, 'POST', '/register', { ...wish, auth });
      const accepted = await server.services.database.read((tx) => listAcceptedTerms(tx, guest.user_id));
      expect(accepted).to.have.length(2);
    });

    it('have a page in the language of the browser, with a box and a link for each document', async () => {
      const server = await started({ enabled: true, terms: TERMS });
      const session = await begin(server, 'alice');
      const ja = await page(server, 'm.login.terms', session, undefined, 'ja');
      expect(ja.html)
        .to.include('href="https://test/privacy.ja?a=1&amp;b=&quot;2&quot;"')
        .and.include('プライバシーポリシー');
      expect(ja.html).to.include('Rules');
      const en = await page(server, 'm.login.terms', session);
      expect(en.html).to.include('Privacy &lt;policy&gt;').and.not.include('Privacy <policy>');
      expect(en.html.match(/type="checkbox" required/g)).to.have.length(2);
      expect((await register(server, 'alice', { session })).status).to.equal(401);
      const done = await page(server, 'm.login.terms', session, {});
      expect([done.status, told(done)]).to.deep.equal([200, [['authDone', '*']]]);
      expect((await register(server, 'alice', { session })).body.user_id).to.equal('@alice:test');
    });
  });

  for (const [provider, type, field] of [
    ['recaptcha', 'm.login.recaptcha', 'g-recaptcha-response'],
    ['hcaptcha', 'org.tsudoi.login.hcaptcha', 'h-captcha-response'],
    ['turnstile', 'org.tsudoi.login.turnstile', 'cf-turnstile-response'],
  ] as const)
    describe(`the captcha of ${provider}`, () => {
      it('is asked for with its public key, and judged by the service', async () => {
        const server = await started({ enabled: true, ...withCaptcha(provider) });
        const { body } = await register(server, 'alice');
        expect(body.flows).to.deep.equal([{ stages: [type] }]);
        expect(body.params).to.deep.equal({ [type]: { public_key: 'site "key"' } });
        const { session } = body;
        const failed = async (auth: object): Promise<unknown> => {
          const answer = await register(server, 'alice', { type, session, ...auth });
          return [answer.status, answer.body.errcode, answer.body.session];
        };
        expect(await failed({})).to.deep.equal([401, 'M_CAPTCHA_NEEDED', session]);
        expect(await failed({ response: 7 })).to.deep.equal([401, 'M_CAPTCHA_NEEDED', session]);
        expect(await failed({ response: 'guessed' })).to.deep.equal([401, 'M_CAPTCHA_INVALID', session]);
        expect(await failed({ response: 'x'.repeat(10_000) })).to.deep.equal([401, 'M_CAPTCHA_INVALID', session]);
        expect(captcha.asked).to.have.length(1);
        expect((await register(server, 'alice', { type, session, response: CaptchaServer.SOLVED })).status).to.equal(
          200,
        );
        expect(captcha.asked.at(-1)?.get('remoteip')).to.match(/127\.0\.0\.1$/);
      });

      it('is solved on a page that loads what the service says, and nothing else', async () => {
        const server = await started({ enabled: true, ...withCaptcha(provider) });
        const session = await begin(server, 'alice');
        const shown = await page(server, type, session, undefined, 'ja');
        expect(shown.html).to.include('data-sitekey="site &quot;key&quot;"');
        const [, script = ''] = /<script src="(https:[^"]*)"/.exec(shown.html) ?? [];
        expect(script).to.match(/\?hl=ja$/);
        const [, allowed = ''] = /script-src ([^;]*)/.exec(shown.policy) ?? [];
        const origins = allowed.split(' ').filter((source) => source.startsWith('https://'));
        const isAllowed = (source: string): boolean => script.startsWith(source) || source.includes('*.hcaptcha.com');
        expect(origins.some(isAllowed), allowed).to.equal(true);
        expect(shown.policy).not.to.match(/unsafe-(inline|eval)|\*[ ;]/);
        const wrong = await page(server, type, session, { [field]: 'guessed' });
        expect(wrong.status).to.equal(401);
        expect(wrong.html).to.include('That was not right').and.include('data-sitekey');
        expect(told(await page(server, type, session, { [field]: CaptchaServer.SOLVED }))).to.have.length(1);
        // A user who comes back to the page sees that it is done.
        expect(told(await page(server, type, session))).to.have.length(1);
        expect((await register(server, 'alice', { session })).status).to.equal(200);
      });
    });

  it('lets nobody through while the captcha cannot be checked, and lets them try again', async () => {
    const server = await started({ enabled: true, ...withCaptcha('turnstile') });
    const type = 'org.tsudoi.login.turnstile';
    const session = await begin(server, 'alice');
    for (const instead of [
      [500, ''],
      [200, '<html>'],
      [200, 'null'],
      [200, '{"success":"true"}'],
      [302, ''],
      [200, `{"success":true,"x":"${'x'.repeat(100_000)}"}`],
    ] as const) {
      captcha.instead = instead;
      const answer = await register(server, 'alice', { type, session, response: CaptchaServer.SOLVED });
      expect([answer.status, answer.body.errcode, answer.body.session], instead[1].slice(0, 20)).to.deep.equal([
        401,
        'M_UNKNOWN',
        session,
      ]);
    }
    expect((await page(server, type, session, { 'cf-turnstile-response': 'x' })).status).to.equal(503);
    captcha.instead = undefined;
    expect((await register(server, 'alice', { type, session, response: CaptchaServer.SOLVED })).status).to.equal(200);
  });

  it('lets nobody through with a secret that the service does not know, and says so to the operator', async () => {
    const server = await started({ enabled: true, ...withCaptcha('recaptcha', 'wrong secret') });
    const answer = await register(server, 'alice', { type: 'm.login.recaptcha', response: CaptchaServer.SOLVED });
    expect([answer.status, answer.body.errcode]).to.deep.equal([401, 'M_UNKNOWN']);
    const line = server.lines.find(({ message }) => message === 'a captcha could not be checked');
    expect(line?.fields['reason']).to.equal('invalid-input-secret');
    expect(JSON.stringify(server.lines)).not.to.include('wrong secret');
  });

  it('come in order: token, captcha, terms', async () => {
    const server = await started({ enabled: true, requiresToken: true, terms: TERMS, ...withCaptcha('recaptcha') });
    const { token } = await server.services.registrationTokens.create(OPERATOR, { usesAllowed: 1 });
    const { body } = await register(server, 'alice');
    const stages = ['m.login.registration_token', 'm.login.recaptcha', 'm.login.terms'];
    expect(body.flows).to.deep.equal([{ stages }]);
    const { session } = body;
    const early = await register(server, 'alice', { type: 'm.login.terms', session });
    expect([early.status, early.body.errcode]).to.deep.equal([401, 'M_FORBIDDEN']);
    // On pages, too.
    expect((await page(server, 'm.login.terms', session, {})).status).to.equal(401);
    expect((await page(server, 'm.login.registration_token', session, { token: 'nonsense' })).status).to.equal(401);
    expect((await page(server, 'm.login.registration_token', session, { token })).status).to.equal(200);
    expect(
      (await page(server, 'm.login.recaptcha', session, { 'g-recaptcha-response': CaptchaServer.SOLVED })).status,
    ).to.equal(200);
    const last = await register(server, 'alice', { session });
    expect([last.status, last.body.completed]).to.deep.equal([401, stages.slice(0, 2)]);
    expect((await register(server, 'alice', { type: 'm.login.terms', session })).status).to.equal(200);
    expect(await server.services.registrationTokens.isValid(token)).to.equal(false);
  });

  describe('on pages', () => {
    it('are completed for the user who began, by their own password', async () => {
      const server = await started({ enabled: true });
      for (const name of ['alice', 'bob']) await register(server, name, { type: 'm.login.dummy' });
      const login = { type: 'm.login.password', identifier: { type: 'm.id.user', user: 'alice' }, password: PASSWORD };
      const { access_token: token } = await server.must(undefined, 'POST', '/login', { ...login, device_id: 'OWN' });
      await server.must(undefined, 'POST', '/login', { ...login, device_id: 'OTHER' });
      const { body } = await server.ask(token, 'DELETE', '/devices/OTHER', {});
      const shown = await page(server, 'm.login.password', body.session);
      expect(shown.html).to.include('value="@alice:test"');
      const fill = (user: string, password: string): Promise<Shown> =>
        page(server, 'm.login.password', body.session, { user, password });
      expect((await fill('@alice:test', 'wrong')).status).to.equal(401);
      expect((await fill('@bob:test', PASSWORD)).status).to.equal(403);
      expect(
        (await server.ask(token, 'DELETE', '/devices/OTHER', { auth: { session: body.session } })).status,
      ).to.equal(401);
      expect(told(await fill('@alice:test', PASSWORD))).to.have.length(1);
      expect(
        (await server.ask(token, 'DELETE', '/devices/OTHER', { auth: { session: body.session } })).status,
      ).to.equal(200);
    });

    it('are not there for sessions that are none, have expired, or have no such stage', async () => {
      const server = await started({ enabled: true });
      const session = await begin(server, 'alice');
      for (const [type, of] of [
        ['m.login.dummy', 'nonsense'],
        ['m.login.password', session],
        ['m.login.terms', session],
        ['constructor', session],
        ['__proto__', session],
        ['%3Cscript%3E', session],
      ] as const) {
        for (const form of [undefined, {}]) {
          const shown = await page(server, type, of, form);
          expect([shown.status, told(shown)], type).to.deep.equal([404, []]);
          expect(shown.html).not.to.include('<script>');
        }
      }
      expect((await page(server, 'm.login.dummy', session)).status).to.equal(200);
      await server.clock.advance(15 * 60_000);
      expect((await page(server, 'm.login.dummy', session)).status).to.equal(404);
      const without = await server.ask(undefined, 'GET', '/auth/m.login.dummy/fallback/web');
      expect([without.status, without.body.errcode]).to.deep.equal([400, 'M_MISSING_PARAM']);
    });

    it('cost attempts of the address that sends them', async () => {
      const server = await started(
        { enabled: true, requiresToken: true },
        { registration: { perSecond: 0.001, burst: 4 } },
      );
      const session = await begin(server, 'alice');
      const statuses: number[] = [];
      for (let attempt = 0; attempt < 5; attempt++)
        statuses.push((await page(server, 'm.login.registration_token', session, { token: `guess${attempt}` })).status);
      expect(statuses).to.deep.equal([401, 401, 401, 429, 429]);
    });
  });
});
