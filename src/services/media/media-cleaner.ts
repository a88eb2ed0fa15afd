import type { Clock } from '#src/kernel/clock.ts';
import type { Timers } from '#src/kernel/timers.ts';
import type { Database, Tx } from '#src/storage/database.ts';
import {
  type DeletableMedia,
  deleteMedia,
  lockMediaOfUser,
  lockReleased,
  lockUnused,
} from '#src/storage/media/media-deletion.ts';
import {
  forgetReferencesOf,
  namedMedia,
  type NamedMedia,
  postponeRelease,
  releaseMedia,
  shownMedia,
} from '#src/storage/media/references.ts';
import { forgetQuarantineChanges } from '#src/storage/media/quarantine.ts';
import { DAY_MS } from '#src/kernel/dates.ts';
import type { ContentStore } from './content-store.ts';

const BATCH_SIZE = 500;
/** Milliseconds for which events that were just committed are waited for. */
const MAX_WAIT_MS = 10_000;
/** How often it is waited for them, when further ones come meanwhile. */
const LOOKS = 5;
/** Milliseconds after which a change of a quarantine is deleted that a later one has superseded. */
const CHANGE_LIFETIME_MS = 90 * DAY_MS;

export interface MediaCleanerOptions {
  readonly database: Database;
  readonly contents: ContentStore;
  /** Takes events in that name media. */
  readonly follower: { reached(timeoutMs: number): Promise<void> | undefined; readonly lag: number };
  readonly clock: Clock;
  readonly timers: Timers;
  readonly serverName: string;
  /** Milliseconds between two batches. */
  readonly pauseMs: number;
  /** Milliseconds for which media stay after nothing names them any more; null: for ever. */
  readonly graceMs: number | null;
  /** Milliseconds after which media that are not requested are deleted, local and remote ones; null: never. */
  readonly localLifetimeMs: number | null;
  readonly remoteLifetimeMs: number | null;
}

/** How many pieces of media, and objects, were deleted. */
export interface CleanedMedia {
  readonly media: number;
  readonly objects: number;
  readonly isDone: boolean;
}

/**
 * Deletes media: those without references, those that were not requested for a long time, and the bytes of both. Each step is
 * a transaction of bounded size, after which the process may end.
 */
export class MediaCleaner {
  readonly #options: MediaCleanerOptions;

  constructor(options: MediaCleanerOptions) {
    this.#options = options;
  }

  async clean(signal: AbortSignal): Promise<CleanedMedia> {
    const { clock, contents, graceMs, localLifetimeMs, remoteLifetimeMs } = this.#options;
    const now = clock.now();
    let media = 0;
    if (graceMs !== null) media += await this.#deleteReleased(now - graceMs, signal);
    if (localLifetimeMs !== null) media += await this.#deleteUnused(now - localLifetimeMs, true, signal);
    if (remoteLifetimeMs !== null) media += await this.#deleteUnused(now - remoteLifetimeMs, false, signal);
    await this.#forgetChanges(now - CHANGE_LIFETIME_MS, signal);
    const objects = await contents.clean(signal);
    return { media, objects, isDone: !signal.aborted };
  }

  /**
   * Releases all uploads of a user: references in the user's own events do not count any more. What others refer to stays.
   *
   * @param userNid the user's number
   * @returns false when it was broken off because of the signal
   */
  async releaseUser(userId: string, userNid: number, signal: AbortSignal): Promise<boolean> {
    const { clock, database, timers, pauseMs } = this.#options;
    for (let after = 0; !signal.aborted;) {
      const seen = await database.write(async (tx) => {
        const media = (await lockMediaOfUser(tx, userId, after, BATCH_SIZE)).map(({ nid }) => nid);
        await forgetReferencesOf(tx, media, userNid);
        await releaseMedia(tx, media, clock.now());
        return media;
      });
      after = seen.at(-1) ?? after;
      if (seen.length < BATCH_SIZE) return true;
      await timers.sleep(pauseMs, signal);
    }
    return false;
  }

  async #forgetChanges(before: number, signal: AbortSignal): Promise<void> {
    while (
      !signal.aborted &&
      (await forgetQuarantineChanges(this.#options.database, before, BATCH_SIZE)) === BATCH_SIZE
    );
  }

  #deleteReleased(before: number, signal: AbortSignal): Promise<number> {
    return this.#batches(true, signal, async (tx) => {
      const media = await lockReleased(tx, before, BATCH_SIZE);
      const named = await namedMedia(
        tx,
        media.map((one) => this.#named(one)),
      );
      // What its uploader released is looked at again: by then nothing else may name it either.
      await postponeRelease(tx, [...named], Math.max(this.#options.clock.now(), before + 1));
      return { media, staying: named };
    });
  }

  #deleteUnused(before: number, isLocal: boolean, signal: AbortSignal): Promise<number> {
    let after = 0;
    return this.#batches(isLocal, signal, async (tx) => {
      const media = await lockUnused(tx, { before, isLocal, after, limit: BATCH_SIZE });
      after = media.at(-1)?.nid ?? after;
      // Avatars of people and rooms, and packs of images, are in use however seldom they are fetched.
      const staying = isLocal
        ? await shownMedia(
            tx,
            media.map((one) => this.#named(one)),
          )
        : new Set<number>();
      return { media, staying };
    });
  }

  /** @param needsNames whether it matters what names the media */
  async #batches(
    needsNames: boolean,
    signal: AbortSignal,
    choose: (tx: Tx) => Promise<{ readonly media: readonly DeletableMedia[]; readonly staying: ReadonlySet<number> }>,
  ): Promise<number> {
    const { database, timers, pauseMs } = this.#options;
    let deleted = 0;
    while (!signal.aborted && (!needsNames || (await this.#knowsNames()))) {
      const batch = await database.writeAgain(async (tx) => {
        const { media, staying } = await choose(tx);
        const going = media.flatMap(({ nid }) => (staying.has(nid) ? [] : [nid]));
        await deleteMedia(tx, going);
        return { seen: media.length, deleted: going.length };
      });
      deleted += batch.deleted;
      if (batch.seen < BATCH_SIZE) break;
      await timers.sleep(pauseMs, signal);
    }
    return deleted;
  }

  /** An event that has just been committed may refer to media that seem to have no reference: it is processed first. Else media are left for later. */
  async #knowsNames(): Promise<boolean> {
    const { follower } = this.#options;
    for (let looked = 0; looked < LOOKS && follower.lag > 0; looked++) await follower.reached(MAX_WAIT_MS);
    return follower.lag === 0;
  }

  #named({ nid, origin, mediaId }: DeletableMedia): NamedMedia {
    return { nid, uri: `${origin === '' ? this.#options.serverName : origin}/${mediaId}` };
  }
}
