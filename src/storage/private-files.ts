import { chmod, readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** The bits of a mode that let others than the owner read or write. Others may pass through a folder: the database's user must. */
const OPEN = 0o066;

/** Folders of the data directory with contents of users. */
const PRIVATE_FOLDERS = ['archive', 'exports', 'media'];

/**
 * Writes a file that is for the server's user alone.
 *
 * @param flag as of `fs.open`
 * @throws Error that names the path: when a disk is full, that of the system does not say where
 */
export const writePrivateFile = async (path: string, content: string, flag: 'w' | 'wx' = 'w'): Promise<void> => {
  try {
    await writeFile(path, content, { mode: 0o600, flag, flush: true });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    // Who makes the file at the same moment is told apart by its code.
    throw Object.assign(new Error(`${path} could not be written: ${message}`, { cause: error }), { code });
  }
};

const close = async (path: string, open: number): Promise<void> => {
  const { mode } = await stat(path);
  if ((mode & open) === 0) return;
  await chmod(path, mode & ~open & 0o7777).catch((error: NodeJS.ErrnoException) => {
    // It belongs to another system user, who has put it there.
    if (error.code !== 'EPERM') throw error;
  });
};

/**
 * Closes a data directory to others, as it is made today: one that an earlier version or a copy made may be open. The database closes its own.
 */
export const closeDataDirectory = async (dataDir: string): Promise<void> => {
  await close(dataDir, OPEN);
  for (const entry of await readdir(dataDir, { withFileTypes: true })) {
    const path = join(dataDir, entry.name);
    if (entry.isFile()) await close(path, 0o077);
    else if (entry.isDirectory() && PRIVATE_FOLDERS.includes(entry.name)) await close(path, 0o077);
  }
};
