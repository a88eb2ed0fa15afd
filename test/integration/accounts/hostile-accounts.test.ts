import { expect } from 'chai';
import fc from 'fast-check';
import { ENDPOINTS } from '#src/app/endpoints.ts';
import { InProcessServer } from '#test/support/in-process-server.ts';
import { json, text } from '#test/support/strange-json.ts';

/** What is asked of accounts, before them, and about the web: by strangers, users and administrators. */
const OPERATIONS = new Set(
  `login register checkUsernameAvailability registrationTokenValidity refresh generateLoginToken getPasswordPolicy getLoginPage
  getChangePasswordPage getChangePassword getStageFallback completeStageFallback getRenewalPage renewAccount exchangeOpenIdToken
  requestOpenIdToken getRtcTransports getTurnServer getWellknown getWellKnown getWellknownSupport getWellknownPolicy pingAppservice
  updateAppserviceRoomDirectoryVisibility getUrlPreview getUrlPreviewAuthed adminListRegistrationTokens adminCreateRegistrationToken
  adminGetRegistrationToken adminChangeRegistrationToken adminDeleteRegistrationToken adminRenewAccount adminFindUserByThreepid
  adminPutUser adminListUsers adminResetPassword changePassword getRegisterNonce registerWithSharedSecret
  getProtocols getProtocolMetadata queryLocationByProtocol queryUserByProtocol queryLocationByAlias queryUserByID getAccount3PIDs
  deactivateAccount`.split(/\s+/),
);

interface Shape {
  readonly properties?: Readonly<Record<string, unknown>>;
  readonly schema?: Shape;
}

describe('requests about accounts that mean harm', function () {
  this.timeout(240_000);
  let server: InProcessServer;
  before(async () => {
    server = await InProcessServer.start({
      config: {
        accountValidity: { enabled: true, periodMs: 86_400_000 },
        jwt: { enabled: true, key: 'a secret of two servers' },
        registration: { terms: { rules: { version: '1', en: { name: 'Rules', url: 'https://test/rules' } } } },
        // Nothing of what is asked here leaves this machine.
        previews: { allow: ['127.0.0.1'] },
      },
    });
    await Promise.all(['alice', 'admin-root'].map((name) => server.session(name)));
  });
  after(() => server?.stop());

  it('are all asked', () => {
    const known = new Set(ENDPOINTS.map(({ operationId }) => operationId));
    expect([...OPERATIONS].filter((operation) => !known.has(operation))).to.deep.equal([]);
  });

  for (const { auth, body, method, operationId, path, query } of ENDPOINTS.filter((one) =>
    OPERATIONS.has(one.operationId),
  ))
    it(`are answered, never with a 500: ${operationId}`, async () => {
      const members = Object.keys(
        ((body as Shape | undefined)?.schema ?? (body as Shape | undefined))?.properties ?? {},
      );
      const parameters = Object.keys((query as Shape | undefined)?.properties ?? {});
      const names = fc.constantFrom('type', 'auth', 'identifier', 'session', 'user', 'medium', 'address', ...members);
      const auths = fc.record(
        {
          type: fc.oneof(
            fc.constantFrom('m.login.password', 'm.login.dummy', 'm.login.terms', 'm.login.registration_token'),
            json,
          ),
          session: fc.oneof(text, json),
          identifier: json,
          password: json,
          response: json,
        },
        { requiredKeys: [] },
      );
      const bodies = fc.oneof(
        json,
        fc.dictionary(names, json, { maxKeys: 8 }),
        fc.record({ auth: auths, username: json, password: json }, { requiredKeys: [] }),
      );
      const segment = text.filter((value) => value !== '' && value.isWellFormed());
      const token = auth === 'none' ? undefined : auth === 'admin' ? 'admin-root' : 'alice';
      await fc.assert(
        fc.asyncProperty(
          segment,
          fc.array(fc.tuple(fc.constantFrom('x', ...parameters), text)),
          bodies,
          async (value, pairs, sent) => {
            const where = path.replaceAll(/\{\w+\}/g, encodeURIComponent(value));
            const search = pairs
              .filter(([, one]) => one.isWellFormed())
              .map(([name, one]) => `${name}=${encodeURIComponent(one)}`)
              .join('&');
            const payload = method === 'GET' || method === 'DELETE' ? undefined : (sent as object);
            const { token: access } = token === undefined ? { token: undefined } : await server.session(token);
            const answer = await fetch(`${server.url}${where}?${search}`, {
              method,
              redirect: 'manual',
              headers: access === undefined ? {} : { Authorization: `Bearer ${access}` },
              ...(payload === undefined ? {} : { body: JSON.stringify(payload) }),
            });
            const said = await answer.text();
            expect(
              answer.status,
              `${where}?${search} ${JSON.stringify(payload)}: ${said.slice(0, 300)}`,
            ).to.be.lessThan(500);
            // What was sent never comes back as markup.
            if (answer.headers.get('content-type')?.startsWith('text/html') === true)
              expect(answer.headers.get('content-security-policy')).to.include("default-src 'none'");
          },
        ),
        { numRuns: 40 },
      );
    });
});
