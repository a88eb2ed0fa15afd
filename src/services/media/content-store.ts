import { Tally } from '#src/kernel/tally.ts';
import { Readable } from 'node:stream';
import { type BlobStore, BlobStoreError, type ByteRange, type LinkHeaders } from '#src/blobs/blob-store.ts';
import type { Clock } from '#src/kernel/clock.ts';
import { LogFlood } from '#src/kernel/logging/log-flood.ts';
import type { Logger } from '#src/kernel/logger.ts';
import type { Random } from '#src/kernel/random.ts';
import type { Timers } from '#src/kernel/timers.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { quotaFull } from '#src/protocol/errors/quota-full.ts';
import type { Database, Tx } from '#src/storage/database.ts';
import { violatesUnique } from '#src/storage/failures.ts';
import {
  beginBlob,
  type BlobPlace,
  type BlobRecord,
  bytesOfBlobs,
  completeBlob,
  deleteDoomedBlobs,
  doomIncompleteBlob,
  doomedBlobs,
  doomUnfinishedBlobs,
  lockLiveBlob,
} from '#src/storage/media/blobs.ts';
import { DAY_MS } from '#src/kernel/dates.ts';
import { StoreCondition } from './store-condition.ts';

const NAME_LENGTH = 40;
const NAME_ALPHABET = 'abcdefghijklmnopqrstuvwxyz0123456789';
/** Milliseconds after which an unfinished object counts as abandoned by a process that ended. */
const UNFINISHED_MS = DAY_MS;
/** Milliseconds for which the sum of all bytes is cached; what was written since is added. */
const SUM_LIFETIME_MS = 300_000;
const REMOVED_AT_ONCE = 500;
/** Bytes that are written to see whether a store that failed works again. */
const TRIAL_BYTES = 65_536;

export interface ContentStoreOptions {
  readonly database: Database;
  /** The stores of objects. New ones go to `place`. */
  readonly stores: Readonly<Partial<Record<BlobPlace, BlobStore>>>;
  readonly place: BlobPlace;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly timers: Timers;
  /** Bytes of all objects together; null for any number. */
  readonly maxBytes: number | null;
}

/**
 * Stores the content of media, each content once, as an object of a blob store. An object is announced in the database before it is written,
 * becomes used in the transaction with its first reference, is marked for deletion in the one that removes the last, and then deleted: a
 * process may end between any two of these steps.
 */
export class ContentStore {
  readonly #options: ContentStoreOptions;
  /** Limits log lines for a full disk to one at a time. */
  readonly #flood: LogFlood;
  #sum: { readonly bytes: number; readonly until: number } | undefined;
  /** The running computation of the sum. */
  #summing: Promise<void> | undefined;
  /** Bytes that were kept since the sum was taken. */
  #added = 0;
  /** Bytes reserved by running uploads. */
  #held = 0;

  /** Whether contents can be stored. */
  readonly condition: StoreCondition;
  /** Outcomes of received contents, and their bytes. */
  readonly counts = new Tally('new', 'known', 'failed');
  keptBytes = 0;

  constructor(options: ContentStoreOptions) {
    this.#options = options;
    this.#flood = new LogFlood(options.logger, options.timers, { most: 1 });
    this.condition = new StoreCondition(options.clock, 'media', () => this.#tryStore());
  }

  /**
   * Stores the content of a stream.
   *
   * @param use gives the content its use, in the transaction in which it comes to be there. May be called again when it was in the way of
   *   another one.
   * @param admit asked when all of it has come, before it gets its use
   * @throws what the stream, `admit` and `use` throw; nothing is left then
   * @throws MatrixError M_TOO_LARGE when this server may keep no more; M_UNKNOWN (503) when the store cannot
   */
  async keep<T>(
    content: Readable,
    use: (tx: Tx, blob: BlobRecord) => Promise<T>,
    admit?: (stored: { readonly digest: string; readonly size: number }) => Promise<void>,
  ): Promise<T> {
    const { clock, database, place, random } = this.#options;
    const name = random.string(NAME_LENGTH, NAME_ALPHABET);
    let held = 0;
    try {
      await this.#sumUp();
      if (this.#space() <= 0) throw full();
      await beginBlob(database, name, place, clock.now());
    } catch (error) {
      content.destroy();
      throw error;
    }
    try {
      const stored = await this.#storeOf(place).put(name, content);
      this.condition.works();
      await admit?.(stored);
      // Not in the transaction: it would need a second connection, and wait for others that do so.
      await this.#sumUp();
      const { result, isNew } = await this.#settle(name, stored, use, () => {
        // Checking and reserving is one step: uploads at once cannot exceed the space together.
        if (held === 0 && this.#space() < stored.size) throw full();
        this.#held += stored.size - held;
        held = stored.size;
      });
      this.counts.add(isNew ? 'new' : 'known');
      this.keptBytes += stored.size;
      if (isNew) this.#added += stored.size;
      else await this.#discard(name);
      return result;
    } catch (error) {
      this.counts.add('failed');
      await this.#discard(name);
      throw this.#failed(error, place);
    } finally {
      this.#held -= held;
    }
  }

  /** The bytes of an object, or a part of them; undefined when they are not there. @throws MatrixError M_UNKNOWN (503) */
  async open({ name, place }: BlobRecord, range?: ByteRange): Promise<Readable | undefined> {
    try {
      return await this.#storeOf(place).open(name, range);
    } catch (error) {
      throw this.#failed(error, place);
    }
  }

  /** The URL at which a client may fetch an object by itself, if there is one. */
  async link({ name, place }: BlobRecord, headers: LinkHeaders): Promise<string | undefined> {
    return this.#storeOf(place).link(name, headers);
  }

  /**
   * Deletes objects that are marked for deletion, and those that an earlier process left unfinished. May be interrupted anywhere.
   *
   * @returns how many objects are gone
   */
  async clean(signal: AbortSignal): Promise<number> {
    const { clock, database } = this.#options;
    while (!signal.aborted) {
      const doomed = await doomUnfinishedBlobs(database, clock.now() - UNFINISHED_MS, REMOVED_AT_ONCE);
      if (doomed < REMOVED_AT_ONCE) break;
    }
    let removed = 0;
    const places = Object.keys(this.#options.stores);
    while (!signal.aborted) {
      const doomed = await doomedBlobs(database, places, REMOVED_AT_ONCE);
      for (const [place, blobs] of Map.groupBy(doomed, (blob) => blob.place)) {
        const store = this.#storeOf(place);
        const names = blobs.map(({ name }) => name);
        const complete = blobs.flatMap(({ name, isComplete }) => (isComplete ? name : []));
        const begun = blobs.flatMap(({ name, isComplete }) => (isComplete ? [] : name));
        try {
          await store.remove(complete, signal);
          await store.abandon(begun, signal);
        } catch (error) {
          // Interrupted: what is left is still marked.
          if (signal.aborted) return removed;
          throw error;
        }
        await deleteDoomedBlobs(database, names);
        removed += names.length;
      }
      if (doomed.length < REMOVED_AT_ONCE) break;
    }
    if (removed > 0 && this.#sum !== undefined) this.#sum = { ...this.#sum, until: -Infinity };
    return removed;
  }

  async #settle<T>(
    name: string,
    stored: { readonly digest: string; readonly size: number },
    use: (tx: Tx, blob: BlobRecord) => Promise<T>,
    takeSpace: () => void,
  ): Promise<{ readonly result: T; readonly isNew: boolean }> {
    for (;;) {
      try {
        return await this.#options.database.writeAgain(async (tx) => {
          const known = await lockLiveBlob(tx, stored.digest);
          if (known === undefined) takeSpace();
          const blob = known ?? (await completeBlob(tx, name, stored));
          if (blob === undefined) throw new MatrixError('M_UNKNOWN', 'The upload timed out: send it again.', {}, 503);
          return { result: await use(tx, blob), isNew: known === undefined };
        });
      } catch (error) {
        // The same content came twice at once, and the other one was first.
        if (!violatesUnique(error, 'blobs_digest')) throw error;
      }
    }
  }

  /**
   * Deletes an object that is not needed. It is checked first whether that is so: a commit whose answer was lost may
   * have made it used. What cannot be deleted now is found by `clean`.
   */
  async #discard(name: string): Promise<void> {
    const { database, place } = this.#options;
    try {
      if (!(await doomIncompleteBlob(database, name))) return;
      await this.#storeOf(place).remove([name]);
      await deleteDoomedBlobs(database, [name]);
    } catch (err) {
      const message = 'an unused object could not be deleted; the cleaner retries it';
      this.#flood.write('warn', 'unused object', message, { name, err });
    }
  }

  /** Writes an object, and deletes it. */
  async #tryStore(): Promise<void> {
    const { clock, database, place, random } = this.#options;
    const name = random.string(NAME_LENGTH, NAME_ALPHABET);
    await beginBlob(database, name, place, clock.now());
    try {
      await this.#storeOf(place).put(name, Readable.from([Buffer.alloc(TRIAL_BYTES)]));
      this.condition.works();
    } catch (error) {
      this.#failed(error, place);
    } finally {
      await this.#discard(name);
    }
  }

  async #sumUp(): Promise<void> {
    const { clock, maxBytes } = this.#options;
    if (maxBytes === null || (this.#sum !== undefined && this.#sum.until >= clock.now())) return;
    this.#summing ??= this.#takeSum().finally(() => (this.#summing = undefined));
    await this.#summing;
  }

  async #takeSum(): Promise<void> {
    const { clock, database } = this.#options;
    // What is kept meanwhile may be in the sum, or not: it counts until the next one.
    const before = this.#added;
    this.#sum = { bytes: await bytesOfBlobs(database), until: clock.now() + SUM_LIFETIME_MS };
    this.#added -= before;
  }

  /** Bytes that can be kept still. */
  #space(): number {
    return (this.#options.maxBytes ?? Infinity) - (this.#sum?.bytes ?? 0) - this.#added - this.#held;
  }

  #storeOf(place: BlobPlace): BlobStore {
    const store = this.#options.stores[place];
    if (store === undefined)
      throw new BlobStoreError('unreachable', `media lie in the store ${place}, which is not configured`);
    return store;
  }

  /** Notes a failure in the log and in the condition of the store. @returns the error for the client */
  #failed(error: unknown, place: BlobPlace): unknown {
    if (!(error instanceof BlobStoreError)) return error;
    if (place === this.#options.place) this.condition.fails(error.kind);
    this.#flood.write('error', error.kind, 'the store of media fails', { kind: error.kind, err: error });
    const message =
      error.kind === 'full'
        ? 'This server has no space left for files at the moment.'
        : 'This server cannot reach its files at the moment: try again shortly.';
    return new MatrixError('M_UNKNOWN', message, { retry_after_ms: 30_000 }, 503);
  }
}

const full = (): MatrixError => quotaFull('media.max_total_bytes', 'This server has no space left for files.');

/** The error for media whose row is there and whose bytes are not. */
export const contentMissing = (): MatrixError =>
  new MatrixError('M_NOT_FOUND', 'The content of this media was deleted.');
