import { expect } from 'chai';
import { requestAuthorization } from '#src/protocol/signing/request-signature.ts';
import { IdentityServer, LOOPBACK_CA_FILE } from '#test/support/stand-ins/identity-server.ts';
import { InProcessServer, SERVER, SIGNING_KEY } from '#test/support/in-process-server.ts';

describe('addresses that are bound with an identity server', function () {
  this.timeout(60_000);
  let identity: IdentityServer;
  let server: InProcessServer;
  before(async () => {
    identity = await IdentityServer.start();
    server = await InProcessServer.start({
      config: {
        identity: { trustedServers: [identity.name] },
        federation: { trustedCaFiles: [LOOPBACK_CA_FILE], allowIpRanges: ['127.0.0.0/8', '::1/128'] },
      },
    });
  });
  after(async () => {
    await server?.stop();
    await identity?.stop();
  });

  const bind = (more: object = {}) =>
    server.ask('alice', 'POST', '/account/3pid/bind', {
      client_secret: 'secret',
      sid: 'right',
      id_server: identity.name,
      id_access_token: identity.token,
      ...more,
    });
  const address = { medium: 'email', address: 'alice@mail.test' };
  beforeEach(() => {
    identity.sessions.set('right', 'alice@mail.test email');
    identity.bindings.clear();
    identity.asked.splice(0);
  });

  for (const path of ['bind', 'the older form'])
    it(`are published as the user's (${path}), and unbound again where they were bound, by a signed request`, async () => {
      const creds = {
        client_secret: 'secret',
        sid: 'right',
        id_server: identity.name,
        id_access_token: identity.token,
      };
      if (path === 'bind') expect((await bind()).body).to.deep.equal({});
      else await server.must('alice', 'POST', '/account/3pid', { three_pid_creds: creds });
      expect(identity.bindings.get('alice@mail.test email')).to.equal('@alice:test');
      expect((await server.must('alice', 'GET', '/account/3pid')).threepids, 'bound is not added').to.deep.equal([]);
      const unbound = await server.must('alice', 'POST', '/account/3pid/unbind', {
        ...address,
        address: 'ALICE@mail.test',
      });
      expect(unbound).to.deep.equal({ id_server_unbind_result: 'success' });
      expect(identity.bindings.size).to.equal(0);
      const asked = identity.asked.at(-1);
      const content = { mxid: '@alice:test', threepid: address };
      expect(asked?.body).to.deep.equal(content);
      const uri = '/_matrix/identity/v2/3pid/unbind';
      const request = { method: 'POST', uri, origin: SERVER, destination: identity.name, content };
      expect(asked?.token).to.equal(requestAuthorization(request, SIGNING_KEY));
      const again = await server.must('alice', 'POST', '/account/3pid/unbind', address);
      expect(again).to.deep.equal({ id_server_unbind_result: 'no-support' });
    });

  it('are unbound when they are deleted, and deleted whatever the identity server says', async () => {
    await bind();
    const gone = await server.must('alice', 'POST', '/account/3pid/delete', address);
    expect([gone.id_server_unbind_result, identity.bindings.size]).to.deep.equal(['success', 0]);
    await bind();
    identity.replacements.set('/3pid/unbind', [[500, 'no JSON']]);
    const kept = await server.must('alice', 'POST', '/account/3pid/delete', address);
    expect(kept.id_server_unbind_result).to.equal('no-support');
  });

  it('are unbound when the account is deactivated, be it by the request or by what follows from it', async () => {
    const end = (name: string) => server.services.accounts.deactivate(`@${name}:${SERVER}`, false);
    for (const name of ['leaves', 'is-killed']) {
      const creds = { client_secret: 's', sid: 'right', id_server: identity.name, id_access_token: identity.token };
      await server.must(name, 'POST', '/account/3pid/bind', creds);
      expect(identity.bindings.size).to.equal(1);
      if (name === 'leaves') {
        const { userId } = await server.session(name);
        await end(name);
        expect(await server.services.ownAddresses.unbindAll(userId)).to.equal('success');
      } else await end(name);
      await server.idle();
      expect(identity.bindings.size, name).to.equal(0);
    }
  });

  it('are not more than the operator allows', async () => {
    for (let count = 0; count < 50; count++) {
      identity.sessions.set('right', `many${count}@mail.test email`);
      expect(
        (
          await server.ask('greedy', 'POST', '/account/3pid/bind', {
            client_secret: 's',
            sid: 'right',
            id_server: identity.name,
            id_access_token: identity.token,
          })
        ).status,
      ).to.equal(200);
    }
    const more = await server.ask('greedy', 'POST', '/account/3pid/bind', {
      client_secret: 's',
      sid: 'right',
      id_server: identity.name,
      id_access_token: identity.token,
    });
    expect([more.status, more.body.errcode]).to.deep.equal([413, 'M_TOO_LARGE']);
  });

  it('pass on what the identity server refuses with, and end nobody’s session by it', async () => {
    const unknown = await bind({ sid: 'unknown' });
    expect([unknown.status, unknown.body.errcode]).to.deep.equal([404, 'M_NO_VALID_SESSION']);
    const wrongToken = await bind({ id_access_token: 'wrong' });
    expect([wrongToken.status, wrongToken.body.errcode]).to.deep.equal([403, 'M_UNAUTHORIZED']);
    identity.replacements.set('/3pid/unbind', [[403, { errcode: 'M_TERMS_NOT_SIGNED', error: 'sign' }]]);
    const terms = await server.ask('alice', 'POST', '/account/3pid/unbind', { ...address, id_server: identity.name });
    expect([terms.status, terms.body.errcode]).to.deep.equal([403, 'M_TERMS_NOT_SIGNED']);
    identity.replacements.set('/3pid/unbind', [[404, 'not here']]);
    const none = await server.must('alice', 'POST', '/account/3pid/unbind', { ...address, id_server: identity.name });
    expect(none).to.deep.equal({ id_server_unbind_result: 'no-support' });
  });

  it('are bound with trusted identity servers only', async () => {
    for (const [path, body] of [
      ['bind', { client_secret: 's', sid: 'x', id_server: 'evil.test', id_access_token: 't' }],
      ['unbind', { ...address, id_server: 'evil.test' }],
    ] as const) {
      const answer = await server.ask('alice', 'POST', `/account/3pid/${path}`, body);
      expect([answer.status, answer.body.errcode]).to.deep.equal([400, 'M_SERVER_NOT_TRUSTED']);
    }
    const deleted = await server.must('alice', 'POST', '/account/3pid/delete', { ...address, id_server: 'evil.test' });
    expect(deleted).to.deep.equal({ id_server_unbind_result: 'no-support' });
    expect(identity.asked).to.deep.equal([]);
  });
});
