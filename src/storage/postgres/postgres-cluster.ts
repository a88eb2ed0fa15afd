import { spawn } from 'node:child_process';
import { chmod, chown, mkdir, readFile, readlink, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Logger } from '#src/kernel/logger.ts';
import type { Random } from '#src/kernel/random.ts';
import type { Timers } from '#src/kernel/timers.ts';
import { ClusterFolder, exists, follow } from './cluster-folder.ts';
import { writePrivateFile } from '#src/storage/private-files.ts';
import type { PostgresBinaries, PostgresUser } from './postgres-binaries.ts';

/** Name of the superuser and of the database. */
export const POSTGRES_ROLE = 'tsudoi';
const MAJOR = '18';

/** The files of one PostgreSQL cluster: making them, and clearing away what a killed server left. */
export interface Cluster {
  readonly folder: string;
  readonly password: string;
}

/** Runs a program of PostgreSQL's to its end. Rejects with what it said when it fails. */
function runToEnd(file: string, args: readonly string[], user: PostgresUser | undefined, cwd: string): Promise<void> {
  return new Promise((done, fail) => {
    const child = spawn(file, args, { ...user, cwd, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    const collect = (chunk: Buffer): void => {
      output = (output + chunk.toString()).slice(-4000);
    };
    child.stdout.on('data', collect);
    child.stderr.on('data', collect);
    child.on('error', fail);
    child.on('close', (code, signal) => {
      if (code === 0) done();
      else fail(new Error(`${file} failed (${signal ?? `exit code ${code}`}): ${output.trim()}`));
    });
  });
}

/**
 * The cluster of the data directory; initialised on first use. Where it lies, `ClusterFolder` says.
 *
 * @throws if it belongs to another data directory or was made by another PostgreSQL version, or initdb fails
 */
export async function prepareCluster(
  dataDir: string,
  binaries: PostgresBinaries,
  user: PostgresUser | undefined,
  random: Random,
  logger: Logger,
): Promise<Cluster> {
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  // The database's user passes through the data directory; it does not read it.
  if (user !== undefined) await chmod(dataDir, (await stat(dataDir)).mode | 0o011);
  const passwordFile = join(dataDir, 'postgres.password');
  const place = new ClusterFolder(dataDir, user, random);
  let folder = await place.find();
  if (folder === undefined) {
    logger.info('initialising the embedded database', { folder: place.path });
    const password = random.string(32);
    await writePrivateFile(passwordFile, password);
    folder = await place.choose();
    await initialise(folder, password, binaries, user, random);
    await place.settle(folder);
  }
  const version = (await readFile(join(folder, 'PG_VERSION'), 'utf8')).trim();
  if (version !== MAJOR) {
    throw new Error(
      `${place.path} was made by PostgreSQL ${version}, this server brings ${MAJOR}: dump it with the old server and restore it into a new data_dir`,
    );
  }
  return { folder, password: (await readFile(passwordFile, 'utf8')).trim() };
}

async function initialise(
  folder: string,
  password: string,
  binaries: PostgresBinaries,
  user: PostgresUser | undefined,
  random: Random,
): Promise<void> {
  // Made aside and renamed when whole: a start that is killed in the middle of initdb leaves nothing behind that counts.
  const aside = `${folder}.new`;
  const passwordFile = `${folder}.pw-${random.string(8)}`;
  const attempt = async (locale: string): Promise<void> => {
    await rm(aside, { recursive: true, force: true });
    await mkdir(dirname(aside), { recursive: true, mode: 0o755 });
    await mkdir(aside, { recursive: true, mode: 0o700 });
    await writePrivateFile(passwordFile, password);
    if (user !== undefined) {
      await chown(aside, user.uid, user.gid);
      await chown(passwordFile, user.uid, user.gid);
    }
    await runToEnd(
      binaries.initdb,
      [
        `--pgdata=${aside}`,
        '--encoding=UTF8',
        `--locale=${locale}`,
        `--username=${POSTGRES_ROLE}`,
        `--pwfile=${passwordFile}`,
        '--auth-local=trust',
        '--auth-host=scram-sha-256',
        '--data-checksums',
        '--no-instructions',
      ],
      user,
      dirname(folder),
    );
  };
  try {
    // Trigram and case functions need LC_CTYPE to know UTF-8; a system without C.UTF-8 does without them.
    await attempt('C.UTF-8').catch(() => attempt('C'));
    await rename(aside, folder);
  } finally {
    await rm(passwordFile, { force: true });
  }
}

/** The process id in `postmaster.pid`, if the file is there. */
async function postmasterOf(folder: string): Promise<number | undefined> {
  try {
    const pid = Number((await readFile(join(folder, 'postmaster.pid'), 'utf8')).split('\n')[0]);
    return Number.isInteger(pid) && pid > 0 ? pid : undefined;
  } catch {
    return undefined;
  }
}

/** Whether `pid` is the PostgreSQL server of `folder`, and not another process that was given the same id. */
async function isPostmaster(pid: number, folder: string): Promise<boolean> {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false;
  }
  try {
    // PostgreSQL lives in its data directory.
    return (await readlink(`/proc/${pid}/cwd`)) === (await follow(folder));
  } catch {
    // No /proc, or it may not be read: better to ask a stranger to stop with pg_ctl, which looks again, than to run twice.
    return !(await exists('/proc/self/cwd'));
  }
}

/**
 * Stops a PostgreSQL that outlived the server that had started it, and removes its lock file if nobody holds it any more.
 * Everything it had acknowledged is in its write-ahead log.
 */
export async function clearLeftovers(
  folder: string,
  binaries: PostgresBinaries,
  user: PostgresUser | undefined,
  timers: Timers,
  logger: Logger,
): Promise<void> {
  const pid = await postmasterOf(folder);
  if (pid === undefined) return;
  if (await isPostmaster(pid, folder)) {
    logger.warn('stopping a leftover embedded database', { pid });
    const stop = (mode: string, seconds: number): Promise<void> =>
      runToEnd(binaries.pgCtl, ['stop', '-D', folder, '-m', mode, '-w', '-t', String(seconds)], user, folder);
    try {
      await stop('fast', 8);
    } catch {
      await stop('immediate', 8).catch((err: unknown) =>
        logger.warn('pg_ctl could not stop the embedded database', { err }),
      );
    }
    for (let i = 0; i < 50 && (await isPostmaster(pid, folder)); i += 1) await timers.sleep(100);
    if (await isPostmaster(pid, folder)) throw new Error(`the PostgreSQL of ${folder} (process ${pid}) does not stop`);
  }
  if ((await postmasterOf(folder)) === pid) await rm(join(folder, 'postmaster.pid'), { force: true });
}
