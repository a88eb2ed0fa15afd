import { execFile, spawn } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import pg from 'pg';
import { ChildServer, environmentWithoutTsudoi } from '#test/support/child-server.ts';
import { freePort } from '#test/support/free-port.ts';
import { emptyDatabase } from '#test/support/database.ts';
import { recordedFetch } from '#test/support/http.ts';
import { until } from '#test/support/until.ts';

const HOME = fileURLToPath(new URL('../../../', import.meta.url));

interface Ended {
  readonly code: number | string | null;
  readonly output: string;
}

function tsudoi(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ended> {
  return new Promise((resolve) => {
    const options = { env: { ...environmentWithoutTsudoi(), ...env }, cwd: tmpdir(), timeout: 30_000 };
    execFile(join(HOME, 'bin', 'tsudoi'), args, options, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : (error.code ?? null), output: stdout + stderr });
    });
  });
}

/** Whether a process runs. One that ended and was not collected by its new parent does not. */
async function isRunning(pid: number): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return stat !== '' && !/\) [ZX] /.test(stat);
}

describe('a server process', function () {
  this.timeout(60_000);

  describe('with the embedded database', () => {
    let server: ChildServer;
    before(async () => {
      server = await ChildServer.start();
    });
    after(() => server.dispose());

    it('answers /health, /livez and /readyz, and serves metrics', async () => {
      for (const path of ['/health', '/livez', '/readyz']) {
        const response = await recordedFetch(server.url + path);
        expect(response.status, path).to.equal(200);
        expect(await response.text(), path).to.equal('OK');
      }
      const metrics = await (await recordedFetch(`${server.url}/metrics`)).text();
      expect(metrics).to.match(/^tsudoi_sql_statements_total \d+$/m);
      expect(metrics).to.match(/^process_resident_memory_bytes \d+$/m);
      expect(metrics).to.match(/^tsudoi_event_loop_delay_p99_seconds [\d.e-]+$/m);
    });

    it('writes one JSON line per request, with method, operation, status and request id', async () => {
      const response = await recordedFetch(`${server.url}/_matrix/client/versions?access_token=never-log-this`);
      await response.arrayBuffer();
      const requestId = response.headers.get('x-request-id')!;
      // Lines are gathered for a tenth of a second.
      await until('the line is written', () => server.output.includes(requestId));
      const lines = server.output.split('\n').filter((line) => line.includes(requestId));
      expect(lines).to.have.length(1);
      const line = JSON.parse(lines[0]!) as Record<string, unknown>;
      expect(line).to.include({ level: 'info', method: 'GET', status: 200, request_id: requestId });
      expect(line['operation']).to.match(/getVersions$/);
      expect(server.output).to.not.include('never-log-this');
    });

    it('refuses a second process on the same data_dir, and says who holds it', async () => {
      const second = await tsudoi(['start'], {
        TSUDOI_DATA_DIR: server.dataDir,
        TSUDOI_HTTP__PORT: String(await freePort()),
      });
      expect(second.code).to.equal(1);
      expect(second.output).to.include('in use by another server').and.to.include(String(server.pid));
      expect((await recordedFetch(`${server.url}/health`)).status).to.equal(200);
    });

    it('ends with code 0 on SIGTERM, database included, and starts again', async () => {
      const postmaster = Number(
        (await readFile(join(server.dataDir, 'postgres', 'postmaster.pid'), 'utf8')).split('\n')[0],
      );
      expect(await server.stop()).to.equal(0);
      expect(await isRunning(postmaster)).to.equal(false);
      await server.launch();
      expect((await recordedFetch(`${server.url}/health`)).status).to.equal(200);
    });

    it('recovers by itself from SIGKILL, with the database it left running', async () => {
      const postmaster = Number(
        (await readFile(join(server.dataDir, 'postgres', 'postmaster.pid'), 'utf8')).split('\n')[0],
      );
      await server.kill('SIGKILL');
      expect(await isRunning(postmaster), 'the orphaned database').to.equal(true);
      await server.launch();
      expect(await isRunning(postmaster)).to.equal(false);
      expect((await recordedFetch(`${server.url}/health`)).status).to.equal(200);
    });

    it('recovers from SIGKILL of server and database together', async () => {
      const postmaster = Number(
        (await readFile(join(server.dataDir, 'postgres', 'postmaster.pid'), 'utf8')).split('\n')[0],
      );
      process.kill(postmaster, 'SIGKILL');
      await server.kill('SIGKILL');
      await server.launch();
      expect((await recordedFetch(`${server.url}/health`)).status).to.equal(200);
    });

    it('outlives the death of its database, which it starts again', async () => {
      const pid = server.pid;
      const postmaster = Number(
        (await readFile(join(server.dataDir, 'postgres', 'postmaster.pid'), 'utf8')).split('\n')[0],
      );
      process.kill(postmaster, 'SIGKILL');
      await until('the database is back', async () => {
        const { status } = await recordedFetch(`${server.url}/readyz`);
        return status === 200 && server.output.includes('the embedded database is running again');
      });
      expect(server.pid).to.equal(pid);
    });

    it('keeps its server_name for life', async () => {
      await server.stop();
      const other = await tsudoi(['start'], {
        TSUDOI_DATA_DIR: server.dataDir,
        TSUDOI_HTTP__PORT: String(server.port),
        TSUDOI_SERVER_NAME: 'other.example',
      });
      expect(other.code).to.equal(1);
      expect(other.output).to.include('other.example').and.to.include('localhost');
      await server.launch();
    });

    it('runs side by side with another one', async () => {
      const other = await ChildServer.start();
      try {
        expect((await recordedFetch(`${other.url}/health`)).status).to.equal(200);
        expect((await recordedFetch(`${server.url}/health`)).status).to.equal(200);
      } finally {
        await other.dispose();
      }
    });
  });

  it('takes over a lock whose process id was given to somebody else', async () => {
    const server = await ChildServer.start({ database: 'shared' });
    try {
      await server.stop();
      await writeFile(join(server.dataDir, 'server.lock'), `${process.pid} another-boot/1\n`);
      await server.launch();
      expect(await readFile(join(server.dataDir, 'server.lock'), 'utf8')).to.match(new RegExp(`^${server.pid} `));
    } finally {
      await server.dispose();
    }
  });

  it('migrates an empty database once when two nodes start on it together', async () => {
    const database = await emptyDatabase();
    const nodes = await Promise.all([ChildServer.start({ database }), ChildServer.start({ database })]);
    const client = new pg.Client({ connectionString: database });
    await client.connect();
    try {
      const { rows } = await client.query<{ times: string }>('select count(*) as times from migrations group by name');
      expect(rows.length).to.be.at.least(1);
      expect(new Set(rows.map((row) => row.times))).to.deep.equal(new Set(['1']));
      const said = nodes.filter((node) => node.output.includes('database migrated'));
      expect(said, 'one of them did the work').to.have.length(1);
    } finally {
      await client.end();
      await Promise.all(nodes.map((node) => node.dispose()));
    }
  });

  it('does not start with a configuration it does not understand, and names key, file and expectation', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tsudoi-test-conf-'));
    try {
      const file = join(folder, 'my.yaml');
      await writeFile(file, 'http:\n  prot: 1\n');
      for (const command of [['start'], ['config', 'check']]) {
        const { code, output } = await tsudoi([...command, '--config', file], {
          TSUDOI_DATA_DIR: join(folder, 'data'),
        });
        expect(code, command.join(' ')).to.equal(1);
        expect(output).to.include('http.prot').and.to.include(file).and.to.include('did you mean port?');
      }
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  it('says so when the database cannot be reached, or the port is taken', async () => {
    const server = await ChildServer.start({ database: 'shared' });
    try {
      const start = async (name: string, database: string): ReturnType<typeof tsudoi> => {
        const folder = join(server.dataDir, name);
        await mkdir(folder);
        return tsudoi(['start'], {
          TSUDOI_DATA_DIR: folder,
          TSUDOI_HTTP__PORT: String(server.port),
          TSUDOI_DATABASE__URL: database,
        });
      };
      const [nowhere, taken] = await Promise.all([
        start('nowhere', `postgresql://x@127.0.0.1:${await freePort()}/x`),
        start('taken', await emptyDatabase()),
      ]);
      expect(nowhere.code).to.equal(1);
      expect(nowhere.output).to.include('ECONNREFUSED');
      expect(taken.code).to.equal(1);
      expect(taken.output).to.include('EADDRINUSE');
    } finally {
      await server.dispose();
    }
  });

  it('started by npm start, ends cleanly when npm gets SIGTERM', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tsudoi-test-npm-'));
    const port = await freePort();
    const child = spawn('npm', ['start'], {
      env: { ...environmentWithoutTsudoi(), TSUDOI_DATA_DIR: folder, TSUDOI_HTTP__PORT: String(port) },
      cwd: HOME,
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
    const exit = new Promise<number | null>((resolve) => child.once('exit', resolve));
    try {
      await until(
        () => `it is ready:\n${output}`,
        () => output.includes('Tsudoi is ready'),
      );
      child.kill('SIGTERM');
      expect(await exit).to.equal(0);
      expect(output).to.include('"msg":"stopped"');
    } finally {
      child.kill('SIGKILL');
      await rm(folder, { recursive: true, force: true });
    }
  });

  it('ends cleanly on Ctrl-C, which reaches the whole process group of a terminal', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tsudoi-test-int-'));
    const port = await freePort();
    const child = spawn(join(HOME, 'bin', 'tsudoi'), ['start'], {
      env: { ...environmentWithoutTsudoi(), TSUDOI_DATA_DIR: folder, TSUDOI_HTTP__PORT: String(port) },
      cwd: HOME,
      stdio: ['ignore', 'pipe', 'inherit'],
      detached: true,
    });
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
    const exit = new Promise<number | null>((resolve) => child.once('exit', resolve));
    try {
      await until(
        () => `it is ready:\n${output}`,
        () => output.includes('Tsudoi is ready'),
      );
      process.kill(-child.pid!, 'SIGINT');
      expect(await exit).to.equal(0);
      expect(output).to.include('"msg":"stopped"').and.not.include('"level":"error"');
    } finally {
      child.kill('SIGKILL');
      await rm(folder, { recursive: true, force: true });
    }
  });
});
