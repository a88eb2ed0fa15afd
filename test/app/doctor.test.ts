import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import type { Config } from '#src/app/config/config.ts';
import { loadConfig } from '#src/app/config/load.ts';
import { databaseChecks } from '#src/app/doctor/database-checks.ts';
import { machineChecks } from '#src/app/doctor/machine-checks.ts';
import { networkChecks } from '#src/app/doctor/network-checks.ts';
import type { Check } from '#src/cli/finding.ts';
import { type Clock, systemClock } from '#src/kernel/clock.ts';
import { systemRandom } from '#src/kernel/random.ts';
import { formatSigningKey, generateSigningKey } from '#src/protocol/signing/signing-key.ts';
import { cloneDatabase, query, type TestDatabase } from '#test/support/database.ts';
import { freePort } from '#test/support/free-port.ts';

const CERTIFICATES = join(import.meta.dirname, '..', 'support', 'certificates');
const DAY_MS = 86_400_000;

const found = (checks: readonly Check[], what: string): string => {
  const one = checks.find((check) => check.what === what);
  return one === undefined ? 'nothing' : `${one.verdict} ${one.text}`;
};
const shifted = (ms: number): Clock => ({
  now: () => systemClock.now() + ms,
  monotonic: () => systemClock.monotonic(),
});

describe('the doctor, of files and Redis,', function () {
  let folder: string;
  let config: Config;
  const look = async (): Promise<Check[]> => machineChecks(config);
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tsudoi-doctor-'));
    config = loadConfig([], { TSUDOI_DATA_DIR: folder, TSUDOI_SIGNING_KEY_FILE: join(folder, 'signing.key') });
  });
  after(() => rm(folder, { recursive: true, force: true }));

  it('says of a signing key that it is not there yet, good, or broken', async () => {
    expect(found(await look(), 'signing key')).to.match(/^note .*is made at the first start/);
    const key = generateSigningKey((count) => systemRandom.bytes(count));
    await writeFile(config.signingKeyFile, `${formatSigningKey(key)}\n`, { mode: 0o600 });
    expect(found(await look(), 'signing key')).to.match(/^ok signs as ed25519:/);
    await writeFile(`${config.signingKeyFile}.retired`, 'rubbish\n');
    expect(found(await look(), 'signing key')).to.match(/^bad .*Put it back from a backup/);
    await rm(`${config.signingKeyFile}.retired`);
    await writeFile(config.signingKeyFile, 'rubbish\n');
    expect(found(await look(), 'signing key')).to.match(/^bad .*Put it back from a backup/);
  });

  it('names what others on the machine can read, and the command that ends it', async () => {
    await chmod(folder, 0o700);
    await writeFile(join(folder, 'session.key'), 'secret');
    await chmod(join(folder, 'session.key'), 0o600);
    await chmod(config.signingKeyFile, 0o600);
    expect(found(await look(), 'file permissions')).to.match(/^ok /);
    await chmod(join(folder, 'session.key'), 0o644);
    expect(found(await look(), 'file permissions')).to.match(/^bad .*session\.key: chmod go= .*session\.key$/);
    await chmod(join(folder, 'session.key'), 0o600);
    await chmod(folder, 0o755);
    expect(found(await look(), 'file permissions')).to.match(/^bad /);
    await chmod(folder, 0o700);
  });

  it('says that Redis is not configured, or that it cannot be reached', async () => {
    expect(found(await look(), 'redis')).to.match(/^note not configured/);
    const url = `redis://127.0.0.1:${await freePort()}`;
    const away = await machineChecks({ ...config, redis: { ...config.redis, url } });
    expect(found(away, 'redis')).to.match(/^bad Redis cannot be used: .*Look whether it runs/);
  });
});

describe('the doctor, of a database of one’s own,', function () {
  this.timeout(60_000);
  let clone: TestDatabase;
  let config: Config;
  const look = (clock: Clock = systemClock): Promise<Check[]> => databaseChecks(config, clock);
  before(async () => {
    clone = await cloneDatabase();
    config = loadConfig([], { TSUDOI_DATABASE__URL: clone.url });
  });
  after(() => clone?.drop());

  it('names each setting that risks what was acknowledged', async () => {
    // The database of the tests is not to survive anything.
    expect(found(await look(), 'database settings')).to.match(
      /^bad fsync is off.*full_page_writes.*synchronous_commit/,
    );
    const wide = { ...config, database: { ...config.database, poolSize: 500 } };
    expect(found(await databaseChecks(wide, systemClock), 'database settings')).to.include('max_connections is 200');
  });

  it('says how large it is, and which tables are', async () => {
    expect(found(await look(), 'database size')).to.match(/^ok \d+ MiB; the largest tables are /);
  });

  it('compares its clock with that of the machine', async () => {
    expect(found(await look(), 'database clock')).to.match(/^ok /);
    expect(found(await look(shifted(90_000)), 'database clock')).to.match(/^bad (89|90) s behind .*NTP/);
  });

  it('tells of jobs that wait too long, and of those that were given up', async () => {
    expect(found(await look(), 'queues')).to.equal('ok nothing waits');
    for (const [id, state] of ['failed', 'waiting', 'failed'].entries())
      await query(
        clone.url,
        `insert into bullmq.job (queue, id, seq, name, state, added_at_ms) values ('prompt', '${id}', ${id}, 'x', '${state}', 0)`,
      );
    expect(found(await look(), 'queues')).to.match(/^note 2 jobs were given up/);
    await query(
      clone.url,
      `insert into outbox (job, payload, created_ts) values ('x', '{}', ${systemClock.now() - 3_600_000})`,
    );
    expect(found(await look(), 'queues')).to.match(/^bad 1 jobs wait since 60 minutes .*look in its log/);
  });

  it('leaves a database that cannot be reached, and the embedded one, to the check that tells of them', async () => {
    const nowhere = {
      ...config,
      database: { ...config.database, url: `postgres://x@127.0.0.1:${await freePort()}/x` },
    };
    expect(await databaseChecks(nowhere, systemClock)).to.deep.equal([]);
    expect(await databaseChecks({ ...config, database: { ...config.database, url: null } }, systemClock)).to.deep.equal(
      [],
    );
  });
});

describe('the doctor, of the network,', function () {
  this.timeout(60_000);
  let server: Server;
  let port: number;
  let certificateAuthorities: readonly string[];
  let answers: Record<string, { status?: number; body: unknown; headers?: Record<string, string> }>;
  const configOf = (more: Record<string, string> = {}): Config =>
    loadConfig([], {
      TSUDOI_SERVER_NAME: 'a.test',
      TSUDOI_PUBLIC_BASE_URL: 'https://matrix.a.test',
      TSUDOI_FEDERATION__STATIC_HOSTS: `a.test=127.0.0.1:${port}`,
      ...more,
    });
  const look = (
    config = configOf(),
    clock: Clock = systemClock,
    authorities = certificateAuthorities,
  ): Promise<Check[]> =>
    networkChecks({ config, clock, certificateAuthorities: authorities, webServerOf: () => `127.0.0.1:${port}` });

  before(async () => {
    certificateAuthorities = [await readFile(join(CERTIFICATES, 'authority.crt'), 'utf8')];
    const key = await readFile(join(CERTIFICATES, 'federation.key'));
    const cert = await readFile(join(CERTIFICATES, 'federation.crt'));
    server = createServer({ key, cert }, (request: IncomingMessage, response: ServerResponse) => {
      const { body = {}, headers = {}, status = 200 } = answers[request.url ?? ''] ?? { status: 404 };
      response.writeHead(status, { 'Content-Type': 'application/json', ...headers }).end(JSON.stringify(body));
    });
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve);
    });
    port = (server.address() as AddressInfo).port;
  });
  after(async () => {
    server?.closeAllConnections();
    await new Promise((resolve) => server?.close(resolve));
  });
  beforeEach(() => {
    answers = {
      '/_matrix/key/v2/server': { body: { server_name: 'a.test' } },
      '/.well-known/matrix/client': {
        body: { 'm.homeserver': { base_url: 'https://matrix.a.test/' } },
        headers: { 'Access-Control-Allow-Origin': '*' },
      },
      '/.well-known/matrix/server': { body: { 'm.server': 'matrix.a.test:443' } },
    };
  });

  it('is content with a server that others find and believe', async () => {
    const checks = await look(configOf({ TSUDOI_WELL_KNOWN__SERVER: 'matrix.a.test:443' }));
    expect(found(checks, 'well-known client')).to.equal('ok clients are sent to https://matrix.a.test/');
    expect(found(checks, 'well-known server')).to.equal('ok other servers are sent to matrix.a.test:443');
    expect(found(checks, 'dns')).to.equal('ok 127.0.0.1 is 127.0.0.1');
    expect(found(checks, 'federation port')).to.match(
      /^ok 127\.0\.0\.1:\d+ answers, with a certificate for \d+ days more$/,
    );
    expect(found(checks, 'clock')).to.match(/^note not compared/);
  });

  it('says what is wrong with .well-known documents, and who has to pass them on', async () => {
    const client = async (answer: object): Promise<string> => {
      answers['/.well-known/matrix/client'] = { body: {}, ...answer };
      return found(await look(), 'well-known client');
    };
    expect(await client({ status: 404 })).to.match(/^note .*pass the path on/);
    expect(await client({ body: { hello: 1 } })).to.match(/^bad .*without m\.homeserver/);
    const good = { 'm.homeserver': { base_url: 'https://matrix.a.test' } };
    expect(await client({ body: good })).to.match(/^bad .*Access-Control-Allow-Origin/);
    const other = { 'm.homeserver': { base_url: 'https://other.test' } };
    const headers = { 'Access-Control-Allow-Origin': '*' };
    expect(await client({ body: other, headers })).to.match(/^bad .*one of them is wrong/);
    const config = configOf({ TSUDOI_WELL_KNOWN__SERVER: 'elsewhere.test:443' });
    expect(found(await look(config), 'well-known server')).to.match(/^bad .*one of them is wrong/);
    delete answers['/.well-known/matrix/server'];
    expect(found(await look(config), 'well-known server')).to.match(/^bad .*pass the path on/);
    expect(found(await look(), 'well-known server')).to.match(/^ok there is none/);
  });

  it('says why the federation port does not lead here', async () => {
    answers['/_matrix/key/v2/server'] = { body: { server_name: 'b.test' } };
    expect(found(await look(), 'federation port')).to.match(/^bad at .* is the server b\.test, and not a\.test/);
    answers['/_matrix/key/v2/server'] = { status: 502, body: 'Bad gateway' };
    expect(found(await look(), 'federation port')).to.match(/^bad .*answers 502 .*pass \/_matrix on/);
    const closed = configOf({ TSUDOI_FEDERATION__STATIC_HOSTS: `a.test=127.0.0.1:${await freePort()}` });
    expect(found(await look(closed), 'federation port')).to.match(/^bad .*nothing listens there/);
    expect(found(await look(configOf(), systemClock, []), 'federation port')).to.match(/^bad .*certificate/i);
    const foreign = configOf({
      TSUDOI_SERVER_NAME: 'nobody.example',
      TSUDOI_FEDERATION__STATIC_HOSTS: `nobody.example=127.0.0.1:${port}`,
    });
    expect(found(await look(foreign), 'federation port')).to.match(/^bad .*certificate is for another name/);
    answers['/_matrix/key/v2/server'] = { body: { server_name: 'a.test' } };
    const late = shifted(Number(new Date('2200-01-01')) - systemClock.now());
    expect(found(await look(configOf(), late), 'federation port')).to.match(/^bad .*expires in -\d+ days: renew it/);
  });

  it('says of a name without an address what to make', async () => {
    const nowhere = configOf({
      TSUDOI_SERVER_NAME: 'nowhere.invalid',
      TSUDOI_FEDERATION__STATIC_HOSTS: 'nowhere.invalid=host.invalid:8448',
    });
    expect(found(await look(nowhere), 'dns')).to.match(/^bad host\.invalid has no address: make an A or AAAA record/);
  });

  it('takes a name of this machine alone for a test, and asks nobody about federation that is off', async () => {
    const local = await look(configOf({ TSUDOI_SERVER_NAME: 'localhost', TSUDOI_FEDERATION__STATIC_HOSTS: '' }));
    expect(local.map(({ verdict, what }) => `${verdict} ${what}`)).to.deep.equal(['note dns', 'note clock']);
    const off = await look(configOf({ TSUDOI_FEDERATION__ENABLED: 'false' }));
    expect(off.map(({ what }) => what)).to.deep.equal(['well-known client', 'clock']);
  });

  it('compares the clock with those of the key servers that are configured', async () => {
    const config = configOf({ TSUDOI_FEDERATION__KEY_SERVERS: 'a.test' });
    expect(found(await look(config), 'clock')).to.match(/^ok as 127\.0\.0\.1:\d+ has it/);
    expect(found(await look(config, shifted(-120_000)), 'clock')).to.match(/^bad 1[12]\d s behind .*NTP/);
    expect(found(await look(config, shifted(DAY_MS)), 'clock')).to.match(/^bad \d+ s ahead of /);
  });
});
