import { createReadStream, type ReadStream } from 'node:fs';
import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import type { Clock } from '#src/kernel/clock.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { BoundedBytes } from './bounded-bytes.ts';

const isFull = (error: unknown): boolean =>
  error instanceof Error && ['ENOSPC', 'EDQUOT'].includes(String((error as NodeJS.ErrnoException).code));

const ID = /^[A-Za-z0-9_-]{8,64}$/;
const EXTENSION = '.zip';
const UNFINISHED = '.part';

/** The archives of users' data: files of the data directory, kept for some time. */
export class ExportFiles {
  readonly #folder: string;
  readonly #clock: Clock;
  readonly #lifetimeMs: number;

  constructor(options: { readonly folder: string; readonly clock: Clock; readonly lifetimeMs: number }) {
    this.#folder = options.folder;
    this.#clock = options.clock;
    this.#lifetimeMs = options.lifetimeMs;
  }

  get lifetimeMs(): number {
    return this.#lifetimeMs;
  }

  /**
   * Writes an archive. What was begun under this id before is replaced; it is there whole, or not at all.
   *
   * @returns its bytes
   * @throws what the content throws, and `TooLargeError` beyond `maxBytes`; MatrixError M_UNKNOWN on a full disk
   */
  async write(id: string, content: Readable, maxBytes: number): Promise<number> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    const path = this.#pathOf(id);
    const file = await open(`${path}${UNFINISHED}`, 'w', 0o600);
    const bounded = new BoundedBytes(maxBytes);
    try {
      for await (const chunk of content) {
        const bytes = chunk as Buffer;
        bounded.add(bytes.byteLength);
        // On a nearly full disk a part of it may be written without an error.
        for (let written = 0; written < bytes.byteLength;) written += (await file.write(bytes, written)).bytesWritten;
      }
      await file.sync();
    } catch (error) {
      await file.close();
      await this.abandon(id);
      if (isFull(error)) throw new MatrixError('M_UNKNOWN', 'This server has no space left for the archive.', {}, 503);
      throw error;
    }
    await file.close();
    await rename(`${path}${UNFINISHED}`, path);
    return bounded.bytes;
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
