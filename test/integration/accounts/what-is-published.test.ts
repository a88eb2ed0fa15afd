import { expect } from 'chai';
import { InProcessServer } from '#test/support/in-process-server.ts';

const LIVEKIT = { type: 'livekit', livekit_service_url: 'https://rtc.test' };
const KEY = '6yhHGKhCiXTSEN2ksjV7kX/N6rBQZ3Xb+M7LlC6NS+s';

describe('what is published beside the API', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  let bare: InProcessServer;
  before(async () => {
    server = await InProcessServer.start({
      config: {
        rtc: { transports: [LIVEKIT] },
        turn: { uris: ['turn:turn.test'], username: 'fixed', password: 'word', lifetimeMs: 60_000 },
        wellKnown: {
          client: { 'm.identity_server': { base_url: 'https://id.test' }, 'org.example.app': { a_b: 1 } },
          server: 'test:443',
          serverKeys: { 'org.example.more': true },
          supportPage: 'https://help.test',
          supportKeys: { 'org.example.phone_number': '110' },
          policyServerKey: KEY,
          policyServerKeys: { 'org.example.more': 1 },
          changePassword: 'https://account.test/password',
        },
      },
    });
    bare = await InProcessServer.start();
  });
  after(async () => {
    await server?.stop();
    await bare?.stop();
  });
  const get = async (path: string, from = server, token?: string): Promise<unknown> =>
    (await from.ask(token, 'GET', path)).body;
  const refusal = async (path: string, from = bare, token?: string): Promise<unknown> => {
    const { status, body } = await from.ask(token, 'GET', path);
    return [status, body.errcode];
  };

  it('has the transports of calls at both paths and in .well-known, from one configuration', async () => {
    for (const path of ['/v1/rtc/transports', '/unstable/org.matrix.msc4143/rtc/transports']) {
      expect(await get(path, server, 'alice')).to.deep.equal({ rtc_transports: [LIVEKIT] });
      expect(await get(path, bare, 'alice')).to.deep.equal({ rtc_transports: [] });
      expect(await refusal(path)).to.deep.equal([401, 'M_MISSING_TOKEN']);
    }
    expect(await get('/.well-known/matrix/client')).to.have.deep.property('org.matrix.msc4143.rtc_foci', [LIVEKIT]);
    expect(await get('/.well-known/matrix/client', bare)).to.deep.equal({
      'm.homeserver': { base_url: 'https://test' },
    });
  });

  it('has the keys that an operator adds to each well-known file, spelt as they were written', async () => {
    expect(await get('/.well-known/matrix/client')).to.deep.include({
      'm.homeserver': { base_url: 'https://test' },
      'm.identity_server': { base_url: 'https://id.test' },
      'org.example.app': { a_b: 1 },
    });
    expect(await get('/.well-known/matrix/server')).to.deep.equal({ 'm.server': 'test:443', 'org.example.more': true });
    expect(await get('/.well-known/matrix/support')).to.deep.equal({
      support_page: 'https://help.test',
      'org.example.phone_number': '110',
    });
    expect(await get('/.well-known/matrix/policy_server')).to.deep.equal({
      public_keys: { ed25519: KEY },
      'org.example.more': 1,
    });
  });

  it('answers 404 M_NOT_FOUND for well-known files that the operator did not fill', async () => {
    for (const name of ['server', 'support', 'policy_server'])
      expect(await refusal(`/.well-known/matrix/${name}`), name).to.deep.equal([404, 'M_NOT_FOUND']);
  });

  it('leads password stores to the page on which passwords are changed', async () => {
    const leads = async (from: InProcessServer): Promise<unknown> => {
      const { status, headers } = await fetch(`${from.url}/.well-known/change-password`, { redirect: 'manual' });
      return [status, headers.get('location')];
    };
    expect(await leads(server)).to.deep.equal([302, 'https://account.test/password']);
    expect(await leads(bare)).to.deep.equal([302, 'https://test/_tsudoi/account/password']);
  });

  it('gives the one account of a TURN server that has only one', async () => {
    expect(await get('/voip/turnServer', server, 'alice')).to.deep.equal({
      username: 'fixed',
      password: 'word',
      uris: ['turn:turn.test'],
      ttl: 60,
    });
    // Clients know an empty object, which the schema does not, as "there is none".
    const { token } = await bare.session('alice');
    const headers = { Authorization: `Bearer ${token}` };
    const answer = await fetch(`${bare.url}/_matrix/client/v3/voip/turnServer`, { headers });
    expect([answer.status, await answer.json()]).to.deep.equal([200, {}]);
  });

  it('tells whoever has an OpenID token whose it is, for as long as it is good', async () => {
    const { access_token: token } = await server.must('alice', 'POST', '/user/@alice:test/openid/request_token', {});
    const path = '/_matrix/federation/v1/openid/userinfo';
    expect(await get(`${path}?access_token=${token}`)).to.deep.equal({ sub: '@alice:test' });
    expect(await refusal(path, server)).to.deep.equal([401, 'M_MISSING_TOKEN']);
    for (const wrong of [`${token}x`, 'nonsense', '%F0%9F%91%BB', 'x'.repeat(5_000)])
      expect(await refusal(`${path}?access_token=${wrong}`, server), wrong).to.deep.equal([401, 'M_UNKNOWN_TOKEN']);
    // An access token is none, and the other way round.
    const { token: access } = await server.session('alice');
    expect(await refusal(`${path}?access_token=${access}`, server)).to.deep.equal([401, 'M_UNKNOWN_TOKEN']);
    await server.clock.advance(3_600_000);
    expect(await refusal(`${path}?access_token=${token}`, server)).to.deep.equal([401, 'M_UNKNOWN_TOKEN']);
  });

  it('refuses users what only application services may', async () => {
    for (const [method, path, body] of [
      ['POST', '/v1/appservice/bridge/ping', {}],
      ['PUT', '/directory/list/appservice/net/!room:test', { visibility: 'public' }],
    ] as const) {
      const answer = await server.ask('alice', method, path, body);
      expect([answer.status, answer.body.errcode], path).to.deep.equal([403, 'M_FORBIDDEN']);
    }
    const login = { type: 'm.login.application_service', identifier: { type: 'm.id.user', user: 'alice' } };
    const registration = { type: 'm.login.application_service', username: '_bridged' };
    for (const [path, body] of [
      ['/login', login],
      ['/register', registration],
    ] as const)
      for (const [token, status, errcode] of [
        [undefined, 401, 'M_MISSING_TOKEN'],
        ['NONSENSE', 401, 'M_UNKNOWN_TOKEN'],
        ['alice', 403, 'M_FORBIDDEN'],
      ] as const) {
        const answer = await server.ask(token, 'POST', path, body);
        expect([answer.status, answer.body.errcode], `${path} ${token}`).to.deep.equal([status, errcode]);
      }
    expect(JSON.stringify(await get('/login'))).not.to.include('application_service');
  });

  it('does not know OAuth and single sign-on, as the specification wants it said', async () => {
    for (const path of [
      '/v1/auth_metadata',
      '/_matrix/client/v3/login/sso/redirect?redirectUrl=https://app.test',
      '/_matrix/client/v3/login/sso/redirect/idp?redirectUrl=https://app.test',
    ])
      expect(await refusal(path), path).to.deep.equal([404, 'M_UNRECOGNIZED']);
  });
});
