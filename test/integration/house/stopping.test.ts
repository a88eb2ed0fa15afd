import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { environmentWithoutTsudoi } from '#test/support/child-server.ts';
import { freePort } from '#test/support/free-port.ts';
import { until } from '#test/support/until.ts';

const HOME = fileURLToPath(new URL('../../../', import.meta.url));

interface Running {
  readonly pid: number;
  readonly group: number;
  readonly command: string;
}

/** Every process that runs; those that ended and were not collected do not. */
async function processes(): Promise<Running[]> {
  const found: Running[] = [];
  for (const name of await readdir('/proc')) {
    const pid = Number(name);
    if (!Number.isInteger(pid)) continue;
    const [stat, command] = await Promise.all(
      ['stat', 'cmdline'].map((file) => readFile(`/proc/${pid}/${file}`, 'utf8').catch(() => '')),
    );
    const [state = 'Z', , group] = stat!.slice(stat!.lastIndexOf(')') + 2).split(' ');
    if (!'ZX'.includes(state)) found.push({ pid, group: Number(group), command: command!.replaceAll('\0', ' ') });
  }
  return found;
}

describe('stopping', function () {
  this.timeout(120_000);
  let folder: string;
  let port: number;
  let child: ChildProcess | undefined;
  let output = '';

  before(async function () {
    if (process.platform !== 'linux') this.skip();
    folder = await mkdtemp(join(tmpdir(), 'tsudoi-test-stop-'));
    port = await freePort();
  });

  after(async () => {
    for (const { pid, group } of await left()) process.kill(pid, group === child?.pid ? 'SIGKILL' : 'SIGQUIT');
    await rm(folder, { recursive: true, force: true, maxRetries: 10 });
  });

  /** What still runs of the server that has `folder`: its group, and the database, which has a session of its own. */
  async function left(): Promise<Running[]> {
    return (await processes()).filter(({ group, command }) => group === child?.pid || command.includes(folder));
  }

  /** npm start, as a terminal starts it: npm, its shell and the server are one process group. */
  async function start(): Promise<{ readonly exit: Promise<unknown>; signal(name: NodeJS.Signals): void }> {
    output = '';
    const started = spawn('npm', ['start'], {
      env: { ...environmentWithoutTsudoi(), TSUDOI_DATA_DIR: folder, TSUDOI_HTTP__PORT: String(port) },
      cwd: HOME,
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    child = started;
    started.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
    started.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
    const exit = new Promise((resolve) => started.once('close', resolve));
    await until(
      () => `it is ready:\n${output}`,
      () => output.includes('Tsudoi is ready'),
      30_000,
    );
    return {
      exit,
      signal(name) {
        try {
          process.kill(-started.pid!, name);
        } catch (error) {
          // The group may be gone already: that is what is asked for.
          if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
        }
      },
    };
  }

  const WAYS: Readonly<Record<string, readonly NodeJS.Signals[]>> = {
    SIGINT: ['SIGINT'],
    SIGTERM: ['SIGTERM'],
    'SIGINT and SIGTERM': ['SIGINT', 'SIGTERM'],
    'both, over and over': ['SIGTERM', 'SIGINT', 'SIGTERM', 'SIGINT', 'SIGINT', 'SIGTERM'],
  };
  for (const [way, signals] of Object.entries(WAYS)) {
    it(`leaves no process behind in five stops of npm's process group by ${way}`, async () => {
      for (let stop = 0; stop < 5; stop += 1) {
        const { exit, signal } = await start();
        const postmaster = (await left()).find(({ command }) => command.includes('/bin/postgres'));
        expect(postmaster, 'the embedded database runs').to.not.equal(undefined);
        for (const name of signals) {
          signal(name);
          await new Promise((resolve) => setImmediate(resolve));
        }
        await exit;
        expect(output).to.include('"msg":"stopped"').and.not.include('"level":"error"');
        expect(await left(), output).to.deep.equal([]);
      }
    });
  }

  it('continues in order while the signal is repeated, cuts requests off at the third second, and closes the database', async () => {
    const { exit, signal } = await start();
    // A request whose body never comes is waited for.
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => undefined);
    socket.write(
      'POST /_matrix/client/v3/login HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n',
    );
    try {
      const [answer] = (await once(socket, 'data')) as [Buffer];
      expect(answer.toString()).to.match(/^HTTP\/1\.1 100 /);
      let isOver = false;
      void exit.then(() => (isOver = true));
      await until('it ends', () => {
        signal('SIGINT');
        return isOver;
      });
      expect(output).to.include('"msg":"running requests were aborted at shutdown"').and.include('"msg":"stopped"');
      expect(await left(), output).to.deep.equal([]);
    } finally {
      socket.destroy();
    }
  });
});
