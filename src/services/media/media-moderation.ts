import { formatMxcUri } from '#src/protocol/identifiers/identifiers.ts';
import type { Clock } from '#src/kernel/clock.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { Actor } from '#src/services/audit/actor.ts';
import type { AuditLog } from '#src/services/audit/audit-log.ts';
import type { UserService } from '#src/services/accounts/users/user-service.ts';
import type { Database } from '#src/storage/database.ts';
import { lockMedia, lockSome } from '#src/storage/media/media-deletion.ts';
import {
  countMediaOfUser,
  findMedia,
  LOCAL,
  mediaOfUser,
  type MediaPage,
  type MediaRecord,
} from '#src/storage/media/media.ts';
import {
  latestQuarantineChange,
  liftName,
  liftQuarantine,
  lockQuarantines,
  noteChange,
  protectMedia,
  quarantineChangesAfter,
  quarantineContentOf,
  quarantineMedia,
  quarantineName,
} from '#src/storage/media/quarantine.ts';
import { mediaNamedInRoom, referencesTo } from '#src/storage/media/references.ts';
import { roomNidsOf } from '#src/storage/room-model/room-ids.ts';
import { noSuchMedia } from './no-such-media.ts';
import { deleteWithBytes } from './media-deletion.ts';

export { LOCAL, MEDIA_ORDERS, type MediaPage, type MediaRecord } from '#src/storage/media/media.ts';

const REFERENCES_SHOWN = 100;
export const MAX_PAGE_LENGTH = 1_000;
const CHANGES_AT_ONCE = 100;
/** Events of a room that are looked at by one statement, and names that a list of a room's media has at most. */
const EVENTS_AT_ONCE = 5_000;
const MAX_IN_ROOM = 20_000;

export interface MediaModerationOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly users: Pick<UserService, 'exists'>;
  readonly auditLog: AuditLog;
  readonly serverName: string;
}

/** Which piece of media: `mxc://<serverName>/<mediaId>`. */
export interface MediaName {
  readonly serverName: string;
  readonly mediaId: string;
}

const uriOf = ({ mediaId, serverName }: MediaName): string => formatMxcUri(serverName, mediaId);

/**
 * Inspects, quarantines, protects and deletes media, for administrators. Quarantined media are not served and stay on the
 * disk; deleted ones are deleted with their bytes, unless the same bytes were uploaded under another name too.
 */
export class MediaModeration {
  readonly #options: MediaModerationOptions;

  constructor(options: MediaModerationOptions) {
    this.#options = options;
  }

  /** A piece of media, and its references: the newest events, and profiles and account data, a hundred of each. @throws MatrixError M_NOT_FOUND */
  async info(name: MediaName): Promise<{
    readonly media: MediaRecord;
    readonly references: Awaited<ReturnType<typeof referencesTo>>;
  }> {
    const { database } = this.#options;
    const media = await this.find(name);
    const uri = `${name.serverName}/${name.mediaId}`;
    return { media, references: await referencesTo(database, { nid: media.nid, uri }, REFERENCES_SHOWN) };
  }

  /** A piece of media. @throws MatrixError M_NOT_FOUND */
  async find(name: MediaName): Promise<MediaRecord> {
    const media = await findMedia(this.#options.database, this.#originOf(name), name.mediaId);
    if (media === undefined) throw noSuchMedia();
    return media;
  }

  /**
   * A page of what a user of this server has uploaded, of a thousand at most, and how much there is in all.
   *
   * @throws MatrixError M_NOT_FOUND, M_UNKNOWN for users of other servers
   */
  async ofUser(
    userId: string,
    page: MediaPage,
  ): Promise<{ readonly media: readonly MediaRecord[]; readonly total: number }> {
    await this.#assertLocal(userId);
    const { database } = this.#options;
    const [media, total] = await Promise.all([
      mediaOfUser(database, userId, { ...page, limit: Math.min(page.limit, MAX_PAGE_LENGTH) }),
      countMediaOfUser(database, userId),
    ]);
    return { media, total };
  }

  /**
   * What the events of a room name in clear text, each piece once: of this server, and of others. `isComplete` is false where there are more
   * than the twenty thousand that are told, or nobody waited for them.
   */
  async inRoom(
    roomId: string,
    signal: AbortSignal,
  ): Promise<{ readonly local: string[]; readonly remote: string[]; readonly isComplete: boolean }> {
    const { database, serverName } = this.#options;
    const found = new Set<string>();
    let isComplete = true;
    const [room] = await roomNidsOf(database, [roomId]);
    for (
      let after = room === undefined ? undefined : Number.MIN_SAFE_INTEGER;
      room !== undefined && after !== undefined;
    ) {
      const { last, seen, uris } = await mediaNamedInRoom(database, room, after, EVENTS_AT_ONCE);
      for (const uri of uris) if (found.size < MAX_IN_ROOM) found.add(uri);
      const isLast = last === null || seen < EVENTS_AT_ONCE;
      isComplete = found.size < MAX_IN_ROOM && (isLast || !signal.aborted);
      after = isLast || !isComplete ? undefined : last;
    }
    const isLocal = (uri: string): boolean => uri.startsWith(`${serverName}/`);
    const { local = [], remote = [] } = Object.groupBy(found, (uri) => (isLocal(uri) ? 'local' : 'remote'));
    const full = (uri: string): string => `mxc://${uri}`;
    return { local: local.map(full), remote: remote.map(full), isComplete };
  }

  /**
   * Quarantines a piece of media, and its content for every uploader. One that is protected is left alone; one of another server that is not
   * here is quarantined when it comes.
   *
   * @returns whether it is quarantined
   * @throws MatrixError M_NOT_FOUND when this server is said to have it, and does not
   */
  async quarantine(name: MediaName, actor: Actor): Promise<boolean> {
    const { auditLog, clock, database } = this.#options;
    const origin = this.#originOf(name);
    const quarantining = { by: actor.userId ?? '', now: clock.now() };
    return database.writeAgain(async (tx) => {
      await lockQuarantines(tx);
      const media = await findMedia(tx, origin, name.mediaId);
      if (media === undefined && origin === LOCAL) throw noSuchMedia();
      if (origin !== LOCAL) await quarantineName(tx, origin, name.mediaId, quarantining);
      await quarantineContentOf(tx, origin, name.mediaId, quarantining.by, quarantining.now);
      const isNow = (await quarantineMedia(tx, origin, name.mediaId, quarantining.by)) || media === undefined;
      if (isNow) await noteChange(tx, { origin, mediaId: name.mediaId, quarantined: true }, quarantining.now);
      await auditLog.record(tx, actor, {
        action: 'media.quarantine',
        target: uriOf(name),
        before: media?.quarantined ?? false,
        after: isNow,
      });
      return isNow;
    });
  }

  /** Lifts the quarantine of a piece of media and of its content. @throws MatrixError M_NOT_FOUND as in `quarantine` */
  async unquarantine(name: MediaName, actor: Actor): Promise<void> {
    const { auditLog, clock, database } = this.#options;
    const origin = this.#originOf(name);
    await database.writeAgain(async (tx) => {
      await lockQuarantines(tx);
      const media = await findMedia(tx, origin, name.mediaId);
      if (media === undefined && origin === LOCAL) throw noSuchMedia();
      await liftName(tx, origin, name.mediaId);
      await liftQuarantine(tx, origin, name.mediaId);
      await noteChange(tx, { origin, mediaId: name.mediaId, quarantined: false }, clock.now());
      await auditLog.record(tx, actor, {
        action: 'media.unquarantine',
        target: uriOf(name),
        before: media?.quarantined ?? true,
        after: false,
      });
    });
  }

  /**
   * Changes of quarantines after a position, a hundred at once, and the position after that.
   *
   * @throws MatrixError M_INVALID_PARAM for a position that was never given out
   */
  async quarantineChanges(from: number): Promise<{
    readonly next: number;
    readonly changes: readonly (MediaName & { readonly quarantined: boolean })[];
  }> {
    const { database, serverName } = this.#options;
    const latest = await latestQuarantineChange(database);
    if (from > latest) throw new MatrixError('M_INVALID_PARAM', 'from is not a next_batch that this server gave out.');
    const changes = await quarantineChangesAfter(database, from, CHANGES_AT_ONCE);
    return {
      next: changes.at(-1)?.pos ?? from,
      changes: changes.map(({ mediaId, origin, quarantined }) => ({
        serverName: origin === LOCAL ? serverName : origin,
        mediaId,
        quarantined,
      })),
    };
  }

  /** Protects a piece of this server's media from quarantine and retention, or no longer. @throws MatrixError M_NOT_FOUND */
  async protect(mediaId: string, isProtected: boolean, actor: Actor): Promise<void> {
    const { auditLog, clock, database, serverName } = this.#options;
    await database.writeAgain(async (tx) => {
      await lockQuarantines(tx);
      const media = await findMedia(tx, LOCAL, mediaId);
      if (media === undefined || !(await protectMedia(tx, mediaId, isProtected))) throw noSuchMedia();
      if (isProtected && media.quarantined)
        await noteChange(tx, { origin: LOCAL, mediaId, quarantined: false }, clock.now());
      await auditLog.record(tx, actor, {
        action: isProtected ? 'media.protect' : 'media.unprotect',
        target: uriOf({ serverName, mediaId }),
        before: media.protected,
        after: isProtected,
      });
    });
  }

  /** Deletes a piece of media at once, whatever names it. @throws MatrixError M_NOT_FOUND, M_UNKNOWN for what other servers have */
  async delete(name: MediaName, actor: Actor): Promise<void> {
    const { auditLog, database } = this.#options;
    if (this.#originOf(name) !== LOCAL) throw new MatrixError('M_UNKNOWN', 'Only media of this server can be deleted.');
    await database.writeAgain(async (tx) => {
      const media = await lockMedia(tx, LOCAL, name.mediaId);
      if (media === undefined) throw noSuchMedia();
      await deleteWithBytes(tx, [media]);
      await auditLog.record(tx, actor, { action: 'media.delete', target: uriOf(name), before: { user: media.userId } });
    });
  }

  /**
   * Deletes a page of what a user has uploaded, of a thousand at most, whatever names it.
   *
   * @returns the ids of what was deleted
   * @throws MatrixError as `ofUser`
   */
  async deleteOfUser(userId: string, page: MediaPage, actor: Actor): Promise<readonly string[]> {
    await this.#assertLocal(userId);
    const { auditLog, database } = this.#options;
    return database.writeAgain(async (tx) => {
      const chosen = await mediaOfUser(tx, userId, { ...page, limit: Math.min(page.limit, MAX_PAGE_LENGTH) });
      const ids = chosen.map(({ mediaId }) => mediaId);
      const going = await lockSome(tx, ids);
      await deleteWithBytes(tx, going);
      await auditLog.record(tx, actor, {
        action: 'media.delete_of_user',
        target: userId,
        after: { deleted: going.length },
      });
      const gone = new Set(going.map(({ mediaId }) => mediaId));
      return ids.filter((id) => gone.has(id));
    });
  }

  /** @throws MatrixError M_NOT_FOUND, M_UNKNOWN */
  async #assertLocal(userId: string): Promise<void> {
    const { serverName, users } = this.#options;
    if (!userId.endsWith(`:${serverName}`)) throw new MatrixError('M_UNKNOWN', 'Can only look up local users.');
    if (!(await users.exists(userId))) throw new MatrixError('M_NOT_FOUND', 'There is no such user.');
  }

  #originOf({ serverName }: MediaName): string {
    return serverName === this.#options.serverName ? LOCAL : serverName;
  }
}
