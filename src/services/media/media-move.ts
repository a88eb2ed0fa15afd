import type { BlobStore } from '#src/blobs/blob-store.ts';
import type { Database } from '#src/storage/database.ts';
import { type BlobPlace, type BlobRecord, blobsInPlace, moveBlob, placesOfBlobs } from '#src/storage/media/blobs.ts';

const CONCURRENCY = 4;
const READ_AT_ONCE = 200;

/** A store whose objects can be listed, some at a time. */
export interface ListedBlobStore extends BlobStore {
  names(): AsyncIterable<readonly string[]>;
}

export interface MediaMoveOptions {
  readonly database: Database;
  readonly from: { readonly place: BlobPlace; readonly store: ListedBlobStore };
  readonly to: { readonly place: BlobPlace; readonly store: BlobStore };
}

/** The result of a move. */
export interface MovedMedia {
  readonly moved: number;
  /** Bytes. */
  readonly bytes: number;
  /** Names of objects that were not as they had been written, or were not there: they stay where they are. */
  readonly damaged: readonly string[];
  readonly isDone: boolean;
}

/**
 * Moves the objects of media from one store to another. Each is written there, verified, recorded in the database, and only
 * then deleted here; so this may be interrupted anywhere, and resumes where it was.
 */
export class MediaMove {
  readonly #options: MediaMoveOptions;

  constructor(options: MediaMoveOptions) {
    this.#options = options;
  }

  /**
   * @param signal ends it after the objects that are under way
   * @param told is told of each batch
   * @throws BlobStoreError when a store fails
   */
  async run(signal: AbortSignal, told: (moved: number) => void = () => undefined): Promise<MovedMedia> {
    const { database, from } = this.#options;
    await this.#removeMoved(signal);
    let moved = 0;
    let bytes = 0;
    const damaged: string[] = [];
    for (let after = ''; !signal.aborted;) {
      const batch = await blobsInPlace(database, from.place, after, READ_AT_ONCE);
      for (let at = 0; at < batch.length && !signal.aborted; at += CONCURRENCY) {
        const some = batch.slice(at, at + CONCURRENCY);
        const outcomes = await Promise.all(some.map((blob) => this.#move(blob)));
        for (const [index, blob] of some.entries()) {
          if (outcomes[index] === 'damaged') damaged.push(blob.name);
          if (outcomes[index] !== 'moved') continue;
          moved += 1;
          bytes += blob.size;
        }
      }
      told(moved);
      if (batch.length < READ_AT_ONCE) return { moved, bytes, damaged, isDone: !signal.aborted };
      after = batch.at(-1)?.name ?? after;
    }
    return { moved, bytes, damaged, isDone: false };
  }

  async #move(blob: BlobRecord): Promise<'moved' | 'damaged' | 'gone'> {
    const { database, from, to } = this.#options;
    const content = await from.store.open(blob.name);
    if (content === undefined) return (await this.#placeOf(blob)) === from.place ? 'damaged' : 'gone';
    const { digest, size } = await to.store.put(blob.name, content);
    if (digest !== blob.digest || size !== blob.size) {
      await to.store.remove([blob.name]);
      return 'damaged';
    }
    const isMoved = await moveBlob(database, blob.name, from.place, to.place);
    // One that was doomed meanwhile is deleted where its row says that it lies; one that another process has moved stays where it is now.
    const place = isMoved ? to.place : await this.#placeOf(blob);
    await (place === to.place ? from : to).store.remove([blob.name]);
    return isMoved ? 'moved' : 'gone';
  }

  async #placeOf({ name }: BlobRecord): Promise<BlobPlace | undefined> {
    return (await placesOfBlobs(this.#options.database, [name])).get(name);
  }

  /** Deletes what a move that was broken off has moved and not deleted. */
  async #removeMoved(signal: AbortSignal): Promise<void> {
    const { database, from, to } = this.#options;
    for await (const names of from.store.names()) {
      if (signal.aborted) return;
      const places = await placesOfBlobs(database, names);
      await from.store.remove(names.filter((name) => places.get(name) === to.place));
    }
  }
}
