import { link as hardLink, lstat, mkdir, readFile, readlink, rename, rm, stat, symlink } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import type { Random } from '#src/kernel/random.ts';
import { isReachable, sharedHome, type PostgresUser } from './postgres-binaries.ts';
import { writePrivateFile } from '#src/storage/private-files.ts';

/** Which data directory a folder outside of it belongs to. Copying a directory gives it another number, moving it does not. */
interface Owner {
  readonly data_dir: string;
  readonly device: number;
  readonly inode: number;
}

/** Whether there is something at `path`, be it at the end of a link. */
export async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/** Where the link `path` leads, or `path` itself. */
export async function follow(path: string): Promise<string> {
  const isLink = (await lstat(path)).isSymbolicLink();
  return isLink ? resolve(dirname(path), await readlink(path)) : path;
}

/**
 * Where the files of a data directory's database lie: its folder `postgres`, which is a link to a folder under /var/lib/tsudoi where
 * the database's user cannot reach the directory (root's home). A link is copied with the directory; what it leads to belongs to one of
 * the two only, and the other is refused.
 */
export class ClusterFolder {
  readonly #dataDir: string;
  readonly #user: PostgresUser | undefined;
  readonly #random: Random;
  /** `postgres` in the data directory: the folder, or the link to it. */
  readonly path: string;

  constructor(dataDir: string, user: PostgresUser | undefined, random: Random) {
    this.#dataDir = dataDir;
    this.#user = user;
    this.#random = random;
    this.path = join(dataDir, 'postgres');
  }

  /**
   * The folder that holds the cluster; undefined when there is none yet.
   *
   * @throws if it belongs to another data directory, or the database's user cannot get there
   */
  async find(): Promise<string | undefined> {
    if (!(await exists(this.path))) return undefined;
    const real = await follow(this.path);
    if (real !== this.path) {
      await this.#claim(real);
      return real;
    }
    if (await isReachable(this.#dataDir, this.#user)) return real;
    return this.#moveOut();
  }

  /** Where a new cluster is to be made. `settle` makes it the one that `find` finds. */
  async choose(): Promise<string> {
    return (await isReachable(this.#dataDir, this.#user)) ? this.path : this.#outside();
  }

  /** Makes `real`, which `choose` chose and now holds a cluster, the cluster of the data directory. */
  async settle(real: string): Promise<void> {
    if (real === this.path) return;
    await this.#claim(real);
    // A link that leads nowhere is left over from a cluster that was deleted.
    await rm(this.path, { force: true });
    await symlink(real, this.path);
  }

  #outside(): string {
    return sharedHome(`data-${this.#random.string(12)}`);
  }

  /** A backup that was put back, or a directory that was moved to where the database's user cannot go. */
  async #moveOut(): Promise<string> {
    const real = this.#outside();
    await mkdir(dirname(real), { recursive: true, mode: 0o755 });
    try {
      await rename(this.path, real);
    } catch (cause) {
      throw new Error(
        `the database's user cannot enter ${this.path}, and it cannot be moved to ${real}: ` +
          'put data_dir where other users may pass through, such as /var/lib, or set database.url',
        { cause },
      );
    }
    await this.settle(real);
    return real;
  }

  /** @throws if another data directory has claimed `real` */
  async #claim(real: string): Promise<void> {
    const file = `${real}.owner`;
    const { dev, ino } = await stat(this.#dataDir);
    const mine: Owner = { data_dir: this.#dataDir, device: dev, inode: ino };
    // Written aside and linked into place: of two directories that claim it at the same time, one does.
    const aside = `${file}.${this.#random.string(8)}`;
    await writePrivateFile(aside, `${JSON.stringify(mine)}\n`);
    try {
      await hardLink(aside, file);
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    } finally {
      await rm(aside, { force: true });
    }
    const owner = JSON.parse(await readFile(file, 'utf8')) as Owner;
    if (owner.device === dev && owner.inode === ino) return;
    throw new Error(
      `${this.path} is a link to ${real}, the database of ${owner.data_dir}: a copied data_dir does not take it along. ` +
        `Copy with "tar -h" or "cp -rL" while the server is stopped. If ${owner.data_dir} is gone and this one takes its place, ` +
        `delete ${file} and start again.`,
    );
  }
}
