import { expect } from 'chai';
import { runCli, type CliPorts } from '#src/cli/cli.ts';
import { InProcessServer, type Json } from '#test/support/in-process-server.ts';

const PATH = '/_synapse/admin/v1/registration_tokens';
const DAY = 86_400_000;

describe('registration tokens', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  before(async () => {
    server = await InProcessServer.start({ config: { registration: { requiresToken: true } } });
  });
  after(() => server?.stop());

  const admin = (method: string, path: string, body?: object): Promise<Json> =>
    server.ask('admin-root', method, `${PATH}${path}`, body);
  const isValid = async (token: string): Promise<unknown> =>
    (await server.must(undefined, 'GET', `/v1/register/m.login.registration_token/validity?token=${token}`)).valid;
  const register = (username: string, token: string): Promise<Json> =>
    server.ask(undefined, 'POST', '/register', {
      username,
      password: 'a long password',
      auth: { type: 'm.login.registration_token', token },
    });

  it('are made, shown, changed and deleted by administrators', async () => {
    const expiry = server.clock.now() + DAY;
    const made = (await admin('POST', '/new', { token: 'own', uses_allowed: 2, expiry_time: expiry })).body;
    const shown = { token: 'own', uses_allowed: 2, completed: 0, expiry_time: expiry, pending: 0 };
    expect(made).to.deep.equal(shown);
    expect((await admin('GET', '/own')).body).to.deep.equal(shown);
    expect((await admin('GET', '')).body.registration_tokens).to.deep.include(shown);
    expect((await admin('GET', '?valid=true')).body.registration_tokens).to.deep.include(shown);
    expect((await admin('GET', '?valid=false')).body.registration_tokens).not.to.deep.include(shown);
    expect((await admin('PUT', '/own', { uses_allowed: 5 })).body).to.deep.equal({ ...shown, uses_allowed: 5 });
    expect((await admin('PUT', '/own', { uses_allowed: null, expiry_time: null })).body).to.deep.equal({
      ...shown,
      uses_allowed: null,
      expiry_time: null,
    });
    expect((await admin('PUT', '/own', {})).status).to.equal(200);
    expect((await admin('DELETE', '/own')).status).to.equal(200);
    for (const [method, body] of [['GET'], ['PUT', { uses_allowed: 1 }], ['DELETE']] as const) {
      const answer = await admin(method, '/own', body);
      expect([answer.status, answer.body.errcode], method).to.deep.equal([404, 'M_NOT_FOUND']);
    }
  });

  it('are made up where none is named, and good for any number of accounts at any time', async () => {
    const { body } = await admin('POST', '/new');
    expect((await admin('POST', '/new', { length: 40 })).body.token).to.have.length(40);
    expect(body.token).to.match(/^[A-Za-z0-9._~-]{16}$/);
    expect([body.uses_allowed, body.expiry_time]).to.deep.equal([null, null]);
    server.clock.set(400 * DAY);
    expect((await register('made-up', body.token)).status).to.equal(200);
    expect((await admin('GET', `/${body.token}`)).body.completed).to.equal(1);
  });

  it('are made once where many make the same one at once', async () => {
    const answers = await Promise.all(Array.from({ length: 8 }, () => admin('POST', '/new', { token: 'wanted' })));
    const statuses = answers.map(({ status }) => status).toSorted();
    expect(statuses).to.deep.equal([200, 400, 400, 400, 400, 400, 400, 400]);
  });

  it('are good for as many accounts as they say, however many are made at once', async () => {
    await admin('POST', '/new', { token: 'thrice', uses_allowed: 3 });
    const answers = await Promise.all(Array.from({ length: 8 }, (_, index) => register(`racer${index}`, 'thrice')));
    expect(answers.filter(({ status }) => status === 200)).to.have.length(3);
    expect((await admin('GET', '/thrice')).body.completed).to.equal(3);
  });

  it('are refused with bounds that are none, and twice', async () => {
    for (const body of [
      { token: '' },
      { token: 'with space' },
      { token: 'x'.repeat(65) },
      { token: '集い' },
      { length: 0 },
      { length: 65 },
      { uses_allowed: -1 },
      { uses_allowed: 2 ** 40 },
      { expiry_time: server.clock.now() },
      { expiry_time: -5 },
    ]) {
      const answer = await admin('POST', '/new', body);
      expect([answer.status, answer.body.errcode], JSON.stringify(body)).to.deep.equal([400, 'M_INVALID_PARAM']);
    }
    for (const body of [{ uses_allowed: 1.5 }, { uses_allowed: '1' }, { expiry_time: 'soon' }, { token: 7 }])
      expect((await admin('POST', '/new', body)).body.errcode, JSON.stringify(body)).to.equal('M_BAD_JSON');
    await admin('POST', '/new', { token: 'once' });
    expect((await admin('POST', '/new', { token: 'once' })).body.errcode).to.equal('M_INVALID_PARAM');
    expect((await admin('PUT', '/once', { uses_allowed: -1 })).body.errcode).to.equal('M_INVALID_PARAM');
  });

  it('are no business of others', async () => {
    for (const [method, path, body] of [
      ['GET', ''],
      ['POST', '/new', {}],
      ['GET', '/once'],
      ['PUT', '/once', {}],
      ['DELETE', '/once'],
    ] as const) {
      const answer = await server.ask('bob', method, `${PATH}${path}`, body);
      expect([answer.status, answer.body.errcode], method).to.deep.equal([403, 'M_FORBIDDEN']);
    }
  });

  it('end with their last use, which no two registrations share, and with their time', async () => {
    await admin('POST', '/new', { token: 'three', uses_allowed: 3 });
    const answers = await Promise.all(Array.from({ length: 8 }, (_, n) => register(`rush-${n}`, 'three')));
    expect(answers.filter(({ status }) => status === 200)).to.have.length(3);
    expect(await isValid('three')).to.equal(false);
    await admin('PUT', '/three', { uses_allowed: 4 });
    expect(await isValid('three')).to.equal(true);
    await admin('PUT', '/three', { expiry_time: server.clock.now() + DAY });
    server.clock.set(DAY);
    expect(await isValid('three')).to.equal(false);
    const late = await register('too-late', 'three');
    expect([late.status, late.body.errcode]).to.deep.equal([401, 'M_UNAUTHORIZED']);
  });

  describe('on the command line', () => {
    const run = async (...argv: string[]): Promise<{ code: number; out: string; err: string }> => {
      const seen = { out: '', err: '' };
      const { token } = await server.session('admin-root');
      const ports = {
        out: (text: string) => void (seen.out += text),
        err: (text: string) => void (seen.err += text),
        askSecret: async () => `${token}\n`,
        now: () => server.clock.now(),
        loadConfig: () => ({ http: { bind: '127.0.0.1', port: 1 } }),
      } as unknown as CliPorts;
      return { code: await runCli(['registration-token', ...argv], ports), ...seen };
    };
    const url = (): string[] => ['--url', server.url];

    it('are made, listed and deleted', async () => {
      const made = await run('create', '--token', 'by-hand', '--uses', '2', '--days', '7', ...url());
      expect([made.code, made.out]).to.deep.equal([0, 'by-hand  used 0 of 2 times, expires within 7 days\n']);
      expect((await run('list', ...url())).out).to.include(made.out);
      expect((await run('delete', '--token', 'by-hand', ...url())).code).to.equal(0);
      expect((await run('list', ...url())).out).not.to.include('by-hand');
    });
    it('are refused with numbers that are none, and say what the server says', async () => {
      for (const argv of [
        ['create', '--uses', '0'],
        ['create', '--days', 'x'],
        ['delete'],
        ['list', '--uses', '1'],
        ['burn'],
      ])
        expect((await run(...argv, ...url())).code, argv.join(' ')).to.equal(2);
      const unknown = await run('delete', '--token', 'nobody', ...url());
      expect([unknown.code, unknown.err]).to.deep.equal([
        1,
        'the server refused (404 M_NOT_FOUND): There is no such registration token.\n',
      ]);
    });
  });
});
