import { cleanMedia } from '#src/jobs/definitions.ts';
import type { Clock } from '#src/kernel/clock.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { Database, Tx } from '#src/storage/database.ts';
import {
  type DeletableMedia,
  deleteMedia,
  lockMedia,
  lockMediaOfUser,
  lockOld,
} from '#src/storage/media/media-deletion.ts';
import { findMedia, LOCAL, mediaOfUser, type MediaRecord, usageOfUser } from '#src/storage/media/media.ts';
import {
  liftContentQuarantine,
  liftQuarantine,
  protectMedia,
  quarantineContent,
  quarantineContentOf,
  type QuarantineBatch,
  quarantineMedia,
  quarantineMediaOfRoom,
  quarantineMediaOfUser,
} from '#src/storage/media/quarantine.ts';
import { referencesTo, shownMedia } from '#src/storage/media/references.ts';

const AT_ONCE = 500;
const REFERENCES_SHOWN = 100;
const DIGEST = /^[0-9a-f]{64}$/;
const LONGEST_PAGE = 1_000;

export interface MediaModerationOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly serverName: string;
}

/** Which piece of media: `mxc://<serverName>/<mediaId>`. */
export interface MediaName {
  readonly serverName: string;
  readonly mediaId: string;
}

const notFound = (): MatrixError => new MatrixError('M_NOT_FOUND', 'There is no such media.');

/**
 * What administrators do with media: look, quarantine, protect, delete. Quarantined media are handed out to nobody and stay on the
 * disk; deleted ones are gone with their bytes, unless the same bytes were uploaded under another name too.
 */
export class MediaModeration {
  readonly #options: MediaModerationOptions;

  constructor(options: MediaModerationOptions) {
    this.#options = options;
  }

  /** A piece of media, and what names it: the newest events, and profiles and account data, a hundred of each. @throws MatrixError M_NOT_FOUND */
  async info(name: MediaName): Promise<{
    readonly media: MediaRecord;
    readonly references: Awaited<ReturnType<typeof referencesTo>>;
  }> {
    const { database } = this.#options;
    const media = await findMedia(database, this.#originOf(name), name.mediaId);
    if (media === undefined) throw notFound();
    const uri = `${name.serverName}/${name.mediaId}`;
    return { media, references: await referencesTo(database, { nid: media.nid, uri }, REFERENCES_SHOWN) };
  }

  /** What a user has uploaded, in order of upload, and how much that is. @param after the number of the last one of the page before */
  async ofUser(
    userId: string,
    after = 0,
    limit = 100,
  ): Promise<{ readonly media: readonly MediaRecord[]; readonly bytes: number; readonly files: number }> {
    const { database } = this.#options;
    const media = await mediaOfUser(database, userId, after, Math.min(limit, LONGEST_PAGE));
    return { media, ...(await usageOfUser(database, userId)) };
  }

  /**
   * Quarantines a piece of media, and its content for every uploader. One that is protected is left alone.
   *
   * @throws MatrixError M_NOT_FOUND when it is not there
   */
  async quarantine(name: MediaName, by: string): Promise<boolean> {
    const { clock, database } = this.#options;
    const origin = this.#originOf(name);
    if ((await findMedia(database, origin, name.mediaId)) === undefined) throw notFound();
    return database.write(async (tx) => {
      await quarantineContentOf(tx, origin, name.mediaId, by, clock.now());
      return quarantineMedia(tx, origin, name.mediaId, by);
    });
  }

  /** Lifts the quarantine of a piece of media and of its content. @throws MatrixError M_NOT_FOUND */
  async unquarantine(name: MediaName): Promise<void> {
    const isThere = await this.#options.database.write((tx) => liftQuarantine(tx, this.#originOf(name), name.mediaId));
    if (!isThere) throw notFound();
  }

  /** Quarantines a content, whether it was uploaded or is yet to be. @param digest SHA-256 in hex @throws MatrixError M_INVALID_PARAM */
  async quarantineContent(digest: string, by: string): Promise<void> {
    const { clock, database } = this.#options;
    await quarantineContent(database, digestIn(digest), by, clock.now());
  }

  /** @returns whether it was quarantined */
  unquarantineContent(digest: string): Promise<boolean> {
    return liftContentQuarantine(this.#options.database, digestIn(digest));
  }

  /** Quarantines all that a user has uploaded. @returns how many pieces of media are quarantined from now on */
  quarantineUser(userId: string, by: string): Promise<number> {
    const { database } = this.#options;
    return this.#quarantineAll((after) => quarantineMediaOfUser(database, userId, after, AT_ONCE, by));
  }

  /** Quarantines all media of this server that events of a room name. @param room the room's number @returns how many */
  quarantineRoom(room: number, by: string): Promise<number> {
    const { database } = this.#options;
    return this.#quarantineAll((after) => quarantineMediaOfRoom(database, room, after, AT_ONCE, by));
  }

  /** Protects a piece of this server's media from quarantine and retention, or no longer. @throws MatrixError M_NOT_FOUND */
  async protect(mediaId: string, isProtected: boolean): Promise<void> {
    if (!(await protectMedia(this.#options.database, mediaId, isProtected))) throw notFound();
  }

  /** Deletes a piece of media at once, whatever names it. @throws MatrixError M_NOT_FOUND */
  async delete(name: MediaName): Promise<void> {
    const isThere = await this.#options.database.writeAgain(async (tx) => {
      const media = await lockMedia(tx, this.#originOf(name), name.mediaId);
      if (media === undefined) return false;
      await this.#deleteAll(tx, [media]);
      return true;
    });
    if (!isThere) throw notFound();
  }

  /** Deletes all that a user has uploaded. @returns how many pieces of media */
  deleteOfUser(userId: string): Promise<number> {
    return this.#batches(async (tx, after) => {
      const seen = await lockMediaOfUser(tx, userId, after, AT_ONCE);
      return { seen, going: seen };
    });
  }

  /**
   * Deletes media of this server that were uploaded before a time and have at least `size` bytes. Protected ones stay.
   *
   * @param keepsShown whether avatars of people and rooms and the like stay
   * @returns how many
   */
  deleteOlder(beforeTs: number, size: number, keepsShown: boolean): Promise<number> {
    return this.#batches(async (tx, after) => {
      const seen = await lockOld(tx, { before: beforeTs, size, after, limit: AT_ONCE });
      const named = seen.map(({ nid, mediaId }) => ({ nid, uri: `${this.#options.serverName}/${mediaId}` }));
      const staying = keepsShown ? await shownMedia(tx, named) : new Set<number>();
      return { seen, going: seen.filter(({ nid }) => !staying.has(nid)) };
    });
  }

  async #quarantineAll(batch: (after: number) => Promise<QuarantineBatch>): Promise<number> {
    let all = 0;
    for (let after = 0; ;) {
      const { last, marked, seen } = await batch(after);
      all += marked;
      if (last === null || seen < AT_ONCE) return all;
      after = last;
    }
  }

  async #batches(
    choose: (
      tx: Tx,
      after: number,
    ) => Promise<{ readonly seen: readonly DeletableMedia[]; readonly going: readonly DeletableMedia[] }>,
  ): Promise<number> {
    let deleted = 0;
    for (let after = 0; ;) {
      const { seen, going } = await this.#options.database.writeAgain(async (tx) => {
        const chosen = await choose(tx, after);
        await this.#deleteAll(tx, chosen.going);
        return chosen;
      });
      deleted += going.length;
      if (seen.length < AT_ONCE) return deleted;
      after = seen.at(-1)?.nid ?? after;
    }
  }

  async #deleteAll(tx: Tx, media: readonly DeletableMedia[]): Promise<void> {
    if (media.length === 0) return;
    await deleteMedia(
      tx,
      media.map(({ nid }) => nid),
    );
    await tx.enqueue(cleanMedia, {});
  }

  #originOf({ serverName }: MediaName): string {
    return serverName === this.#options.serverName ? LOCAL : serverName;
  }
}

const digestIn = (text: string): string => {
  const digest = text.toLowerCase();
  if (!DIGEST.test(digest)) throw new MatrixError('M_INVALID_PARAM', 'A digest is a SHA-256 in 64 hexadecimal digits.');
  return digest;
};
