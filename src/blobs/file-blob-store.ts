import { createHash, randomUUID } from 'node:crypto';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import type { BlobStore, ByteRange, StoredBlob } from './blob-store.ts';

const DIGEST = /^[0-9a-f]{64}$/;

/** Blobs as files: `<folder>/ab/cd/<digest>`. Only the server's own user can read them. */
export class FileBlobStore implements BlobStore {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  async put(content: Readable): Promise<StoredBlob> {
    const incoming = join(this.#folder, 'incoming');
    await mkdir(incoming, { recursive: true, mode: 0o700 });
    const path = join(incoming, randomUUID());
    try {
      const blob = await write(path, content);
      const target = this.#pathOf(blob.digest);
      await mkdir(dirname(target), { recursive: true, mode: 0o700 });
      await rename(path, target);
      // The name has to reach the disk as well as the bytes.
      await syncFolder(dirname(target));
      return blob;
    } catch (error) {
      await rm(path, { force: true });
      throw error;
    }
  }

  async open(digest: string, range?: ByteRange): Promise<Readable | undefined> {
    try {
      const file = await open(this.#pathOf(digest));
      return file.createReadStream(range === undefined ? {} : { start: range.first, end: range.last });
    } catch (error) {
      if ((error as { code?: unknown }).code === 'ENOENT') return undefined;
      throw error;
    }
  }

  async remove(digest: string): Promise<void> {
    await rm(this.#pathOf(digest), { force: true });
  }

  #pathOf(digest: string): string {
    if (!DIGEST.test(digest)) throw new TypeError(`${digest} is no SHA-256 in hex`);
    return join(this.#folder, digest.slice(0, 2), digest.slice(2, 4), digest);
  }
}

async function write(path: string, content: Readable): Promise<StoredBlob> {
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
