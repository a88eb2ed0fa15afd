import { createHash } from 'node:crypto';
import { type FileHandle, mkdir, open, readdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import {
  assertBlobName,
  type BlobFailureKind,
  type BlobStore,
  BlobStoreError,
  type ByteRange,
  type StoredContent,
} from './blob-store.ts';

const FULL: ReadonlySet<unknown> = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);
const BROKEN: ReadonlySet<unknown> = new Set([
  'EIO',
  'EROFS',
  'EACCES',
  'EPERM',
  'EMFILE',
  'ENFILE',
  'ENODEV',
  'ENOTDIR',
  'EISDIR',
  'ESTALE',
]);

/** Objects as files: `<folder>/ab/cd/<name>`. Only the server's own user can read them. */
export class FileBlobStore implements BlobStore {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  async put(name: string, content: Readable): Promise<StoredContent> {
    const path = this.#pathOf(name);
    try {
      await makeFolder(dirname(path));
      const stored = await write(path, content);
      // The name has to reach the disk as well as the bytes.
      await syncFolder(dirname(path));
      return stored;
    } catch (error) {
      content.destroy();
      await rm(path, { force: true }).catch(() => undefined);
      throw storeErrorOf(error);
    }
  }

  async open(name: string, range?: ByteRange): Promise<Readable | undefined> {
    let file: FileHandle;
    try {
      file = await open(this.#pathOf(name), 'r');
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return undefined;
      throw storeErrorOf(error);
    }
    const part = range === undefined ? {} : { start: range.first, end: range.last };
    return file.createReadStream(part);
  }

  async remove(names: readonly string[]): Promise<void> {
    try {
      for (const name of names) await rm(this.#pathOf(name), { force: true });
    } catch (error) {
      throw storeErrorOf(error);
    }
  }

  abandon(names: readonly string[]): Promise<void> {
    return this.remove(names);
  }

  link(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  /** The names of all objects, some at a time. */
  async *names(): AsyncGenerator<string[]> {
    for (const first of await foldersIn(this.#folder)) {
      for (const second of await foldersIn(join(this.#folder, first)))
        yield (await readdir(join(this.#folder, first, second))).filter((name) => isNameIn(name, first, second));
    }
  }

  #pathOf(name: string): string {
    assertBlobName(name);
    return join(this.#folder, name.slice(0, 2), name.slice(2, 4), name);
  }
}

const isNameIn = (name: string, first: string, second: string): boolean =>
  name.startsWith(first + second) && /^[0-9a-z]{8,64}$/.test(name);

const codeOf = (error: unknown): unknown => (error instanceof Error ? (error as { code?: unknown }).code : undefined);

/** Whether an error of the file system is one that an operator or time mends, and which; undefined for others. */
export const fileFailureOf = (error: unknown): BlobFailureKind | undefined => {
  const code = codeOf(error);
  if (FULL.has(code)) return 'full';
  return BROKEN.has(code) ? 'unreachable' : undefined;
};

const storeErrorOf = (error: unknown): unknown => {
  const kind = fileFailureOf(error);
  if (kind === undefined) return error;
  const message =
    kind === 'full'
      ? 'the disk for media has no space left'
      : `files of media cannot be read or written (${String(codeOf(error))})`;
  return new BlobStoreError(kind, message, error);
};

async function foldersIn(path: string): Promise<string[]> {
  try {
    const entries = await readdir(path, { withFileTypes: true });
    return entries.flatMap((entry) => (entry.isDirectory() && entry.name.length === 2 ? [entry.name] : [])).toSorted();
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return [];
    throw error;
  }
}

async function makeFolder(path: string): Promise<void> {
  const first = await mkdir(path, { recursive: true, mode: 0o700 });
  if (first === undefined) return;
  // Each folder that is new stands in one that was there before it.
  for (let made = path; made.length >= first.length; made = dirname(made)) await syncFolder(dirname(made));
}

async function write(path: string, content: Readable): Promise<StoredContent> {
  const hash = createHash('sha256');
  const file = await open(path, 'wx', 0o600);
  let size = 0;
  try {
    for await (const chunk of content) {
      const bytes = chunk as Buffer;
      hash.update(bytes);
      size += bytes.byteLength;
      for (let written = 0; written < bytes.byteLength;) {
        const { bytesWritten } = await file.write(bytes, written);
        written += bytesWritten;
      }
    }
    await file.sync();
  } finally {
    await file.close();
  }
  return { digest: hash.digest('hex'), size };
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
