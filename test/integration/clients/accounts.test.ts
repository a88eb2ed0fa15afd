import { expect } from 'chai';
import * as jose from 'jose';
import { createClient, type MatrixClient, type MatrixError } from 'matrix-js-sdk';
import { InteractiveAuth } from 'matrix-js-sdk/lib/interactive-auth.js';
import { recordedFetch } from '#test/support/http.ts';
import { silent } from '#test/support/sdk-client.ts';
import { InProcessServer } from '#test/support/in-process-server.ts';
import { WebServer } from '#test/support/stand-ins/web-server.ts';

const PASSWORD = 'a long password';
const SECRET = 'a secret that two servers share';
const LIVEKIT = { type: 'livekit', livekit_service_url: 'https://rtc.test' };
const WEB = '127.0.0.2';

describe('accounts, calls and previews, as js-sdk clients ask for them', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  let web: WebServer;
  let stranger: MatrixClient;
  const clientOf = (accessToken?: string, userId?: string): MatrixClient =>
    createClient({
      baseUrl: server.url,
      fetchFn: recordedFetch,
      logger: silent,
      ...(accessToken === undefined ? {} : { accessToken }),
      ...(userId === undefined ? {} : { userId }),
    });
  const errorOf = async (asked: Promise<unknown>): Promise<MatrixError> => {
    try {
      await asked;
    } catch (error) {
      return error as MatrixError;
    }
    throw new Error('it was not refused');
  };

  before(async () => {
    web = await WebServer.start(WEB);
    server = await InProcessServer.start({
      config: {
        previews: { allowIpRanges: [`${WEB}/32`] },
        jwt: { enabled: true, key: SECRET },
        rtc: { transports: [LIVEKIT] },
        turn: { uris: ['turn:turn.test'], sharedSecret: 'north', lifetimeMs: 60_000 },
        registration: { terms: { rules: { version: '1', en: { name: 'Rules', url: 'https://test/rules' } } } },
      },
    });
    stranger = clientOf();
  });
  after(async () => {
    await server?.stop();
    await web?.stop();
  });

  it('register through the stages that the server names', async () => {
    const seen: string[] = [];
    const register = new InteractiveAuth({
      matrixClient: stranger,
      doRequest: (auth) =>
        stranger.registerRequest({ username: 'akiko', password: PASSWORD, ...(auth ? { auth } : {}) }),
      stateUpdated: (stage) => {
        seen.push(stage);
        if (stage === 'm.login.terms') void register.submitAuthDict({ type: stage });
      },
      requestEmailToken: () => Promise.reject(new Error('no mail')),
      supportedStages: ['m.login.terms', 'm.login.dummy'],
    });
    const made = (await register.attemptAuth()) as { user_id: string };
    expect(made.user_id).to.equal('@akiko:test');
    expect(seen).to.include('m.login.terms');
  });

  it('find the fallback page of a stage where they look for it', async () => {
    const { data } = await errorOf(stranger.registerRequest({ username: 'fumiko', password: PASSWORD }));
    const { session } = data as { session: string };
    const url = stranger.getFallbackAuthUrl('m.login.terms', session);
    expect(await (await fetch(url)).text()).to.include('Rules');
    await fetch(url, { method: 'POST', body: new URLSearchParams() });
    const made = await stranger.registerRequest({ username: 'fumiko', password: PASSWORD, auth: { session } });
    expect(made.user_id).to.equal('@fumiko:test');
  });

  it('log in by a token of another service, and a further device by one of their own', async () => {
    const token = await new jose.SignJWT({ sub: 'haruko' })
      .setProtectedHeader({ alg: 'HS256' })
      .sign(Buffer.from(SECRET));
    const first = await stranger.loginRequest({ type: 'org.matrix.login.jwt', token } as never);
    expect(first.user_id).to.equal('@haruko:test');
    const { access_token: access } = await stranger.loginRequest({
      type: 'm.login.password',
      identifier: { type: 'm.id.user', user: 'akiko' },
      password: PASSWORD,
    });
    const akiko = clientOf(access, '@akiko:test');
    const { flows } = await stranger.loginFlows();
    expect(flows).to.deep.include({ type: 'm.login.token', get_login_token: true });
    const asked = await errorOf(akiko.requestLoginToken());
    const { session } = asked.data as { session: string };
    const given = await akiko.requestLoginToken({
      type: 'm.login.password',
      session,
      identifier: { type: 'm.id.user', user: 'akiko' },
      password: PASSWORD,
    } as never);
    const second = await stranger.loginRequest({ type: 'm.login.token', token: given.login_token });
    expect(second.user_id).to.equal('@akiko:test');
    const again = await errorOf(stranger.loginRequest({ type: 'm.login.token', token: given.login_token }));
    expect([again.httpStatus, again.errcode]).to.deep.equal([403, 'M_FORBIDDEN']);
  });

  it('find transports and relays of calls, and prove who they are to the services of these', async () => {
    const { token, userId } = await server.session('natsuko');
    const natsuko = clientOf(token, userId);
    expect(await natsuko._unstable_getRTCTransports()).to.deep.equal([LIVEKIT]);
    expect((await natsuko.turnServer()).uris).to.deep.equal(['turn:turn.test']);
    const openId = await natsuko.getOpenIdToken();
    expect(openId.matrix_server_name).to.equal('test');
    const path = `/_matrix/federation/v1/openid/userinfo?access_token=${openId.access_token}`;
    expect(await server.must(undefined, 'GET', path)).to.deep.equal({ sub: userId });
    expect(await natsuko.getThirdpartyProtocols()).to.deep.equal({});
  });

  it('are told what there is at a URL', async () => {
    const { token, userId } = await server.session('natsuko');
    const url = web.serve('/page', '<meta property="og:title" content="集い">');
    const preview = await clientOf(token, userId).getUrlPreview(url, server.clock.now());
    expect(preview['og:title']).to.equal('集い');
    const missing = await errorOf(clientOf(token, userId).getUrlPreview(`${web.url}/nothing`, 0));
    expect([missing.httpStatus, missing.errcode]).to.deep.equal([404, 'M_NOT_FOUND']);
  });
});
