import { expect } from 'chai';
import { ENDPOINTS } from '#src/app/endpoints.ts';
import { runCli, type CliPorts } from '#src/cli/cli.ts';
import { InProcessServer, type Json } from '#test/support/in-process-server.ts';
import { AUDITED, WAITS } from './audited-requests.ts';

const LOG = '/_tsudoi/admin/v1/audit_log';

describe('what administrators do over HTTP', function () {
  this.timeout(120_000);
  let server: InProcessServer;
  before(async () => {
    server = await InProcessServer.start({
      config: { serverNotices: { user: 'notices' } },
      extensions: { taskKinds: [WAITS] },
    });
  });
  after(() => server?.stop());

  const changing = ENDPOINTS.filter(({ auth, method }) => auth === 'admin' && method !== 'GET');
  const entries = async (query = ''): Promise<Json[]> =>
    (await server.must('admin-root', 'GET', `${LOG}?${query}`)).entries;

  for (const { method, operationId } of changing.filter((one) => Object.hasOwn(AUDITED, one.operationId)))
    it(`leaves an entry, with who did it and from where, and no secret: ${operationId}`, async () => {
      const { userId, deviceId } = await server.session('admin-root');
      const { action, body, path, secrets = [] } = await AUDITED[operationId]!(server);
      const [before] = await entries('limit=1');
      const answer = await server.ask('admin-root', method, path, body);
      expect(answer.status, JSON.stringify(answer.body)).to.be.within(200, 299);
      const since = (await entries()).filter(({ id }) => id > (before?.id ?? 0));
      const entry = since.find((one) => one.action === action);
      expect(entry, JSON.stringify(since)).to.deep.include({
        actor: userId,
        device_id: deviceId,
        ip: '127.0.0.1',
        via: 'http',
      });
      for (const secret of [...secrets, (await server.session('admin-root')).token])
        expect(JSON.stringify(since)).not.to.include(secret);
    });

  it('is listed page by page, and by whom, what, to whom, where and when', async () => {
    for (const token of ['first', 'second', 'third']) {
      await server.must('admin-other', 'POST', '/_synapse/admin/v1/registration_tokens/new', { token });
      await server.clock.advance(1_000);
    }
    const actor = encodeURIComponent('@admin-other:test');
    const page = await server.must('admin-root', 'GET', `${LOG}?actor=${actor}&limit=2`);
    expect(page.entries.map(({ target }: Json) => target)).to.deep.equal(['third', 'second']);
    const next = await server.must('admin-root', 'GET', `${LOG}?actor=${actor}&limit=2&from=${page.next_batch}`);
    expect(next.entries.map(({ target }: Json) => target)).to.deep.equal(['first']);
    expect(next.next_batch).to.equal(undefined);
    expect(await entries('target=second')).to.have.length(1);
    expect(await entries(`actor=${actor}&action=user`)).to.deep.equal([]);
    const ts = page.entries[1].ts;
    expect(
      (await entries(`actor=${actor}&from_ts=${ts}&until_ts=${ts + 1}`)).map(({ target }) => target),
    ).to.deep.equal(['second']);
    for (const query of ['from=x', 'limit=0', 'limit=1001', 'from_ts=-1', 'until_ts=soon']) {
      const refused = await server.ask('admin-root', 'GET', `${LOG}?${query}`);
      expect([refused.status, refused.body.errcode], query).to.deep.equal([400, 'M_INVALID_PARAM']);
    }
  });

  it('is shown on the command line, without control characters of others', async () => {
    const target = 'a\u001b[31mred';
    const { auditLog, database } = server.services;
    await database.write((tx) =>
      auditLog.record(tx, { userId: null, via: 'cli' }, { action: 'cli.test', target, reason: 'why' }),
    );
    const seen = { out: '', err: '' };
    const { token } = await server.session('admin-root');
    const ports = {
      out: (text: string) => void (seen.out += text),
      err: (text: string) => void (seen.err += text),
      askSecret: async () => `${token}\n`,
      now: () => server.clock.now(),
      loadConfig: () => ({ http: { bind: '127.0.0.1', port: 1 } }),
    } as unknown as CliPorts;
    const url = ['--url', server.url];
    expect(await runCli(['audit', '--action', 'cli', '--days', '1', ...url], ports)).to.equal(0);
    expect(seen.out).to.match(/^\S+Z {2}the operator {2}cli\.test a.\[31mred {2}reason "why"\n$/u);
    expect(seen.out).not.to.include('\u001b');
    expect(await runCli(['audit', '--limit', 'x', ...url], ports)).to.equal(2);
    seen.out = '';
    expect(await runCli(['audit', '--limit', '2', ...url], ports)).to.equal(0);
    expect(seen.out.split('\n')).to.have.length(3);
  });

  it('is listed as tasks where it takes long, which can be looked at and cancelled', async () => {
    const { adminTasks, database } = server.services;
    const id = await database.write((tx) =>
      adminTasks.start(tx, { userId: '@admin-root:test', via: 'http' }, WAITS, {
        resource: '!waits:test',
        params: { why: 'test' },
        entry: { action: 'test.wait' },
      }),
    );
    const tasks = '/_tsudoi/admin/v1/tasks';
    const [listed] = (await server.must('admin-root', 'GET', `${tasks}?resource=!waits:test`)).tasks;
    expect(listed).to.deep.include({
      id,
      action: 'wait_until_cancelled',
      resource: '!waits:test',
      params: { why: 'test' },
    });
    expect(await server.must('admin-root', 'GET', `${tasks}/${id}`)).to.deep.include({
      id,
      requested_by: '@admin-root:test',
    });
    await server.must('admin-root', 'POST', `${tasks}/${id}/cancel`);
    await server.idle();
    expect((await server.must('admin-root', 'GET', `${tasks}/${id}`)).status).to.equal('cancelled');
    const scheduled = `/_synapse/admin/v1/scheduled_tasks?resource_id=!waits:test`;
    const shown = {
      id,
      action: 'wait_until_cancelled',
      status: 'cancelled',
      resource_id: '!waits:test',
      result: null,
      error: null,
    };
    const of = async (query: string): Promise<Json> =>
      (await server.must('admin-root', 'GET', `${scheduled}${query}`)).scheduled_tasks;
    expect(await of('&status=failed&status=cancelled')).to.deep.equal([{ ...shown, timestamp_ms: server.clock.now() }]);
    expect(await of('&job_status=cancelled&action_name=wait_until_cancelled')).to.have.length(1);
    expect(await of(`&max_timestamp=${server.clock.now()}`)).to.have.length(1);
    expect(await of(`&max_timestamp=${server.clock.now() - 1}`)).to.deep.equal([]);
    expect(await of('&status=complete')).to.deep.equal([]);
    expect((await server.ask('admin-root', 'GET', `${scheduled}&status=odd`)).body.errcode).to.equal('M_INVALID_PARAM');
    for (const [method, path] of [
      ['GET', `${tasks}/nothing`],
      ['POST', `${tasks}/nothing/cancel`],
    ] as const)
      expect((await server.ask('admin-root', method, path)).status, path).to.equal(404);
  });

  it('begins with the version, which tools compare before anybody is logged in', async () => {
    const { server_version: version } = await server.must(undefined, 'GET', '/_synapse/admin/v1/server_version');
    expect(version).to.match(/^1\.163\.\d+ \(Tsudoi /);
  });
});
