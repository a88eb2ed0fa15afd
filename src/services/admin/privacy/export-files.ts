import { createReadStream, type ReadStream } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import type { BlobFailureKind } from '#src/blobs/blob-store.ts';
import { fileFailureOf } from '#src/blobs/file-blob-store.ts';
import type { Clock } from '#src/kernel/clock.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { StoreCondition } from '#src/services/media/store-condition.ts';
import { BoundedBytes } from './bounded-bytes.ts';

const ID = /^[A-Za-z0-9_-]{8,64}$/;
const EXTENSION = '.zip';
const UNFINISHED = '.part';
/** What is written to see whether archives can be stored again, and its bytes. */
const TRIAL = 'trial.part';
const TRIAL_BYTES = 65_536;

/** Says that what went wrong is the disk, not what was to be written. */
class DiskError extends Error {
  readonly kind: BlobFailureKind;

  constructor(kind: BlobFailureKind, cause: unknown) {
    super(kind, { cause });
    this.kind = kind;
  }
}

/** @throws DiskError where the disk is full or broken */
const onDisk = async <T>(doing: () => Promise<T>): Promise<T> => {
  try {
    return await doing();
  } catch (error) {
    const kind = fileFailureOf(error);
    throw kind === undefined ? error : new DiskError(kind, error);
  }
};

/** Writes all bytes: on a nearly full disk a part of them may be written without an error. */
const writeWhole = async (file: FileHandle, bytes: Buffer): Promise<void> => {
  for (let written = 0; written < bytes.byteLength;) written += (await file.write(bytes, written)).bytesWritten;
};

/** The archives of users' data: files of the data directory, kept for some time. */
export class ExportFiles {
  readonly #folder: string;
  readonly #clock: Clock;
  readonly #lifetimeMs: number;
  /** Whether archives can be stored. */
  readonly condition: StoreCondition;

  constructor(options: { readonly folder: string; readonly clock: Clock; readonly lifetimeMs: number }) {
    this.#folder = options.folder;
    this.#clock = options.clock;
    this.#lifetimeMs = options.lifetimeMs;
    this.condition = new StoreCondition(options.clock, 'exports', () => this.#tryWriting());
  }

  get lifetimeMs(): number {
    return this.#lifetimeMs;
  }

  /**
   * Writes an archive. What was begun under this id before is replaced; it is there whole, or not at all.
   *
   * @returns its bytes
   * @throws what the content throws, and M_TOO_LARGE beyond `maxBytes`; MatrixError M_UNKNOWN (503) where the disk is full or broken
   */
  async write(id: string, content: Readable, maxBytes: number): Promise<number> {
    const path = this.#pathOf(id);
    try {
      const bytes = await this.#writeUnfinished(id, content, maxBytes);
      await onDisk(() => rename(`${path}${UNFINISHED}`, path));
      this.condition.works();
      return bytes;
    } catch (error) {
      content.destroy();
      await this.abandon(id).catch(() => undefined);
      if (!(error instanceof DiskError)) throw error;
      this.condition.fails(error.kind);
      const message =
        error.kind === 'full'
          ? 'This server has no space left for the archive.'
          : `This server cannot write the archive to its disk (${String((error.cause as NodeJS.ErrnoException).code)}).`;
      throw new MatrixError('M_UNKNOWN', message, {}, 503);
    }
  }

  async #writeUnfinished(id: string, content: Readable, maxBytes: number): Promise<number> {
    const file = await this.#open(`${this.#pathOf(id)}${UNFINISHED}`);
    const bounded = new BoundedBytes(maxBytes);
    try {
      for await (const chunk of content) {
        const bytes = chunk as Buffer;
        bounded.add(bytes.byteLength);
        await onDisk(() => writeWhole(file, bytes));
      }
      await onDisk(() => file.sync());
    } finally {
      await file.close();
    }
    return bounded.bytes;
  }

  #open(path: string): Promise<FileHandle> {
    return onDisk(async () => {
      await mkdir(this.#folder, { recursive: true, mode: 0o700 });
      return open(path, 'w', 0o600);
    });
  }

  async #tryWriting(): Promise<void> {
    const path = join(this.#folder, TRIAL);
    try {
      const file = await this.#open(path);
      try {
        await onDisk(() => writeWhole(file, Buffer.alloc(TRIAL_BYTES)));
        await onDisk(() => file.sync());
      } finally {
        await file.close();
      }
      this.condition.works();
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
      this.condition.fails(error.kind);
    } finally {
      await rm(path, { force: true });
    }
  }

  /** The bytes of an archive; undefined where it is there no longer. */
  async read(id: string): Promise<{ readonly stream: ReadStream; readonly bytes: number } | undefined> {
    if (!ID.test(id)) return undefined;
    const path = this.#pathOf(id);
    const found = await stat(path).catch(() => undefined);
    if (found === undefined) return undefined;
    return { stream: createReadStream(path), bytes: found.size };
  }

  async delete(id: string): Promise<void> {
    if (ID.test(id)) await rm(this.#pathOf(id), { force: true });
  }

  /** Deletes an unfinished archive. */
  async abandon(id: string): Promise<void> {
    if (ID.test(id)) await rm(`${this.#pathOf(id)}${UNFINISHED}`, { force: true });
  }

  /** Deletes expired archives, and those that an earlier process left unfinished. */
  async clean(): Promise<void> {
    const names = await readdir(this.#folder).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return [];
      throw error;
    });
    for (const name of names) {
      const path = join(this.#folder, name);
      const found = await stat(path).catch(() => undefined);
      if (found !== undefined && found.mtimeMs + this.#lifetimeMs <= this.#clock.now()) await rm(path, { force: true });
    }
  }

  #pathOf(id: string): string {
    if (!ID.test(id)) throw new TypeError(`${id} is no id of an export`);
    return join(this.#folder, `${id}${EXTENSION}`);
  }
}
