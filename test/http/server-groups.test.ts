import { createHash } from 'node:crypto';
import { expect } from 'chai';
import { capabilitiesEndpoints } from '#src/http/client-server/capabilities.ts';
import { versionsEndpoints } from '#src/http/client-server/versions.ts';
import { wellKnownClientEndpoints } from '#src/http/client-server/wellknown.ts';
import { healthEndpoints } from '#src/http/tsudoi/health.ts';
import { landingEndpoints } from '#src/http/tsudoi/landing.ts';
import { wellKnownServerEndpoints } from '#src/http/well-known/server.ts';
import { supportEndpoints, type SupportInformation } from '#src/http/well-known/support.ts';
import { advertisedCapabilities, advertisedVersions } from '#src/services/server-info/advertised.ts';
import { TestServer } from './serve.ts';

describe('what the server says of itself', () => {
  const server = new TestServer({}, true);
  let isReady = true;
  let degraded: string[] = [];
  let wellKnownServer: Record<string, unknown> | undefined;
  let support: SupportInformation | undefined;
  let mayReadMetrics = true;
  let limits: { maxDelayMs: number | null; maxScheduled: number | null } = { maxDelayMs: 86_400_000, maxScheduled: 10 };

  before(() =>
    server.start(
      [
        ...versionsEndpoints,
        ...capabilitiesEndpoints,
        ...wellKnownClientEndpoints,
        ...wellKnownServerEndpoints,
        ...supportEndpoints,
        ...healthEndpoints,
        ...landingEndpoints,
      ],
      {
        versions: advertisedVersions,
        capabilities: () =>
          advertisedCapabilities({
            defaultRoomVersion: '12',
            stableRoomVersions: ['1', '11', '12'],
            canChangePassword: true,
            canChangeThreepids: false,
            canModerateAccounts: false,
            makesPreviews: true,
            delayedEvents: limits,
          }),
        publicBaseUrl: () => 'https://matrix.test',
        wellKnownClient: () => ({ 'org.example.more': { a: 1 } }),
        wellKnownServer: () => wellKnownServer,
        support: () => support,
        isReady: async () => isReady,
        degradedParts: () => degraded,
        metrics: async () => 'tsudoi_up 1\n',
        mayReadMetrics: () => mayReadMetrics,
        serverName: 'test<script>',
        softwareVersion: '0.1.0',
      },
    ),
  );
  after(() => server.stop());

  it('lists versions in the form of the specification, and no unstable feature that is not there', async () => {
    const { json } = await server.ask('GET', '/_matrix/client/versions');
    const versions = json['versions'] as string[];
    expect(versions).to.deep.equal(['r0.6.1', ...Array.from({ length: 19 }, (_, index) => `v1.${index + 1}`)]);
    expect(json['unstable_features']).to.include({ 'org.matrix.msc4140': true, 'org.matrix.msc4354': true });
  });
  it('lists capabilities to those who have a token', async () => {
    expect((await server.ask('GET', '/_matrix/client/v3/capabilities')).status).to.equal(401);
    const { json } = await server.ask('GET', '/_matrix/client/r0/capabilities', { token: 'alice' });
    expect(json['capabilities']).to.deep.include({
      'm.room_versions': { default: '12', available: { 1: 'stable', 11: 'stable', 12: 'stable' } },
      'm.change_password': { enabled: true },
      'm.3pid_changes': { enabled: false },
      'm.get_login_token': { enabled: true },
      'm.profile_fields': { enabled: true },
    });
    expect(json['capabilities']).not.to.have.property('m.account_moderation');
  });
  it('says how late and how many events may be scheduled; nothing where nothing is limited', async () => {
    const asked = async (): Promise<unknown> => {
      const { json } = await server.ask('GET', '/_matrix/client/v3/capabilities', { token: 'alice' });
      return (json['capabilities'] as Record<string, unknown>)['org.matrix.msc4140.delayed_events'];
    };
    expect(await asked()).to.deep.equal({ max_delay_ms: 86_400_000, max_scheduled: 10 });
    limits = { maxDelayMs: null, maxScheduled: 0 };
    expect(await asked()).to.deep.equal({ max_scheduled: 0 });
    limits = { maxDelayMs: null, maxScheduled: null };
    expect(await asked()).to.deep.equal({});
  });
  it('tells clients where it is, to be read from any origin', async () => {
    const answer = await server.ask('GET', '/.well-known/matrix/client');
    expect(answer.json).to.deep.equal({
      'm.homeserver': { base_url: 'https://matrix.test' },
      'org.example.more': { a: 1 },
    });
    expect(answer.headers['access-control-allow-origin']).to.equal('*');
    expect(answer.headers['content-type']).to.equal('application/json');
  });
  it('answers 404 M_NOT_FOUND to other servers while it does not federate', async () => {
    const before = await server.ask('GET', '/.well-known/matrix/server');
    expect([before.status, before.json['errcode']]).to.deep.equal([404, 'M_NOT_FOUND']);
    wellKnownServer = { 'm.server': 'matrix.test:443' };
    expect((await server.ask('GET', '/.well-known/matrix/server')).json).to.deep.equal({
      'm.server': 'matrix.test:443',
    });
  });
  it('publishes contacts when there are any', async () => {
    expect((await server.ask('GET', '/.well-known/matrix/support')).status).to.equal(404);
    support = {
      contacts: [{ role: 'm.role.admin', matrixId: '@admin:test' }],
      supportPage: 'https://help.test',
      more: { 'org.example.hours': '9-17' },
    };
    expect((await server.ask('GET', '/.well-known/matrix/support')).json).to.deep.equal({
      contacts: [{ role: 'm.role.admin', matrix_id: '@admin:test' }],
      'org.example.hours': '9-17',
      support_page: 'https://help.test',
    });
    support = { contacts: [], supportPage: 'https://help.test', more: {} };
    expect((await server.ask('GET', '/.well-known/matrix/support')).json).to.deep.equal({
      support_page: 'https://help.test',
    });
  });

  it('answers OK as text to health checks, names what cannot be used to those who ask for more than readiness, and 503 while it is not ready, but lives', async () => {
    for (const path of ['/health', '/livez', '/readyz']) {
      const answer = await server.ask('GET', path);
      expect([answer.status, answer.text]).to.deep.equal([200, 'OK']);
      expect(answer.headers['content-type']).to.contain('text/plain');
    }
    degraded = ['media'];
    for (const [path, said] of [
      ['/health', 'Degraded: media'],
      ['/readyz', 'OK'],
      ['/livez', 'OK'],
    ] as const) {
      const answer = await server.ask('GET', path);
      expect([answer.status, answer.text]).to.deep.equal([200, said]);
    }
    isReady = false;
    for (const path of ['/health', '/readyz']) {
      const { headers, status } = await server.ask('GET', path);
      expect([status, headers['retry-after']]).to.deep.equal([503, '5']);
    }
    expect((await server.ask('GET', '/livez')).status).to.equal(200);
  });
  it('serves metrics in the text format of Prometheus to addresses that may read them', async () => {
    for (const path of ['/metrics', '/_synapse/metrics']) {
      const answer = await server.ask('GET', path);
      expect(answer.text).to.equal('tsudoi_up 1\n');
      expect(answer.headers['content-type']).to.equal('text/plain; version=0.0.4; charset=utf-8');
    }
    // Behind a proxy that nobody named, every client would have the address of this machine.
    for (const header of ['x-forwarded-for', 'forwarded', 'x-real-ip', 'via'])
      expect((await server.ask('GET', '/metrics', { headers: { [header]: '127.0.0.1' } })).status).to.equal(403);
    mayReadMetrics = false;
    expect((await server.ask('GET', '/metrics')).status).to.equal(403);
  });

  it('shows a landing page in English and Japanese that loads and runs nothing', async () => {
    const { text, headers, status } = await server.ask('GET', '/');
    expect(status).to.equal(200);
    expect(headers['content-type']).to.equal('text/html; charset=utf-8');
    expect(text)
      .to.contain('https://matrix.test')
      .and.contain('How to connect')
      .and.contain('接続方法')
      .and.contain('v1.19');
    expect(text).to.contain('prefers-color-scheme:dark');
    expect(text).to.contain('test&lt;script&gt;').and.not.contain('<script');
    expect(text).not.to.match(/<(script|img|link|iframe)|url\(|style="|@import/);
    const style = /<style>([^]*)<\/style>/.exec(text)?.[1] ?? '';
    const hash = createHash('sha256').update(style).digest('base64');
    expect(headers['content-security-policy'])
      .to.contain("default-src 'none'")
      .and.contain(`style-src 'sha256-${hash}'`);
  });
});
