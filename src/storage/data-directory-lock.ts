import { link, mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { writePrivateFile } from './private-files.ts';

/** Identifies a process, so that a reused process id is not taken for the owner. */
async function identityOf(pid: number): Promise<string | undefined> {
  try {
    process.kill(pid, 0);
  } catch (error) {
    // EPERM: it lives, but belongs to another user.
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return undefined;
  }
  try {
    // The second field, the command, may hold spaces and parentheses; the third is the state, the 22nd the start time in ticks.
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    // A zombie has ended; where nobody collects it (a container without init), it stays in the table.
    if (fields[0] === 'Z') return undefined;
    const start = fields[19];
    const boot = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
    return `${boot}/${start}`;
  } catch {
    // No /proc (macOS): the process id alone has to do.
    return 'alive';
  }
}

/** Holds a data directory for one process. */
export class DataDirectoryLock {
  readonly #file: string;

  private constructor(file: string) {
    this.#file = file;
  }

  /**
   * Takes the lock file `server.lock`; one left over by a process that is gone is taken over.
   *
   * @throws if another living process holds the directory
   */
  static async take(dataDir: string): Promise<DataDirectoryLock> {
    // It contains keys, archives and the database: only an operator opens it to others.
    await mkdir(dataDir, { recursive: true, mode: 0o700 });
    const file = join(dataDir, 'server.lock');
    const mine = `${process.pid} ${(await identityOf(process.pid)) ?? 'alive'}\n`;
    // Written aside and linked into place: nobody ever reads a lock that is only half written.
    const aside = `${file}.${process.pid}`;
    await writePrivateFile(aside, mine);
    try {
      for (let attempt = 0; attempt < 5; attempt += 1) {
        try {
          await link(aside, file);
          return new DataDirectoryLock(file);
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
        }
        const holder = await readHolder(file);
        if (holder === undefined) continue;
        const identity = await identityOf(holder.pid);
        if (identity !== undefined && identity === holder.identity && holder.pid !== process.pid) {
          throw new Error(
            `the data directory ${dataDir} is in use by another server (process ${holder.pid}). ` +
              'Stop that one first, or give this one a data_dir of its own.',
          );
        }
        // Renaming rather than deleting: of two processes that both find the stale lock, only one moves it away.
        const stale = `${file}.stale.${process.pid}`;
        await rename(file, stale).catch(() => undefined);
        await rm(stale, { force: true });
      }
    } finally {
      await rm(aside, { force: true });
    }
    throw new Error(`the lock file ${file} could not be taken`);
  }

  /** Releases the directory. */
  async release(): Promise<void> {
    await rm(this.#file, { force: true });
  }
}

async function readHolder(file: string): Promise<{ pid: number; identity: string } | undefined> {
  try {
    const handle = await open(file);
    try {
      const [pid = '', identity = ''] = (await handle.readFile('utf8')).trim().split(' ');
      return { pid: Number(pid) || 0, identity };
    } finally {
      await handle.close();
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
