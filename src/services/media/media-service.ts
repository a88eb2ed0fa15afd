import { formatMxcUri } from '#src/protocol/identifiers/identifiers.ts';
import type { Readable } from 'node:stream';
import type { Clock } from '#src/kernel/clock.ts';
import type { Random } from '#src/kernel/random.ts';
import { Signal } from '#src/kernel/signal.ts';
import type { Timers } from '#src/kernel/timers.ts';
import { limitExceeded } from '#src/protocol/errors/limit-exceeded.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { type Quota, quotaFull } from '#src/protocol/errors/quota-full.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { PolicyGate } from '#src/services/policy/gate/policy-gate.ts';
import type { Database, Tx } from '#src/storage/database.ts';
import type { BlobRecord } from '#src/storage/media/blobs.ts';
import {
  countPending,
  fillMedia,
  findMedia,
  insertMedia,
  LOCAL,
  lockUploads,
  type MediaDescription,
  type MediaRecord,
  usageOfUser,
  useSpace,
} from '#src/storage/media/media.ts';
import { noSuchMedia } from './no-such-media.ts';
import type { ContentStore } from './content-store.ts';
import type { MediaAccess } from './media-access.ts';
import { DEFAULT_TYPE, describedAs } from './media-description.ts';
import type { MediaScanner } from './media-scanner.ts';
import type { RemoteMedia } from './remote-media.ts';
import { UploadPlaces } from './upload-places.ts';

const ID_LENGTH = 24;
const MEDIA_ID = /^[A-Za-z0-9_-]{1,255}$/;
/** How long a request waits for content that is yet to come, when it does not say. Client-Server API, `timeout_ms`. */
const DEFAULT_WAIT_MS = 20_000;
export const MAX_WAIT_MS = 60_000;

/** Content that is being uploaded. */
export interface Upload {
  readonly content: Readable;
  readonly contentType: string | undefined;
  readonly filename: string | undefined;
}

/** Media that can be handed out. */
export interface AvailableMedia extends MediaRecord {
  readonly blob: BlobRecord;
  readonly contentType: string;
}

/** Which media a request asks for, and how. */
export interface MediaParams {
  readonly serverName: string;
  readonly mediaId: string;
  /** The requester: a user, an address or a server. */
  readonly party: string;
  /** How long what is not uploaded yet is waited for; undefined for the usual time. */
  readonly timeoutMs: number | undefined;
  /** Whether another server may be asked. */
  readonly allowRemote: boolean;
  readonly signal: AbortSignal;
}

export interface MediaServiceOptions {
  readonly database: Database;
  readonly contents: ContentStore;
  readonly access: MediaAccess;
  readonly remote: RemoteMedia;
  /** Looks at contents before they are handed out. */
  readonly scanner?: MediaScanner | undefined;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  readonly serverName: string;
  readonly policy: PolicyGate;
  /** Bytes that one user may upload, all in all; null for any number. */
  readonly maxUserBytes: number | null;
  /** Files that one user may have; null for any number. */
  readonly maxUserFiles: number | null;
  /** Uploads of one user that may be awaited at once. */
  readonly maxPending: number;
  /** Milliseconds for which an id waits for its content. */
  readonly pendingLifetimeMs: number;
}

/** Files that users share. Client-Server API, "Content repository". */
export class MediaService {
  readonly #options: MediaServiceOptions;
  /** Fires with the id of media whose content has come. */
  readonly #arrived = new Signal<string>();
  readonly #places = new UploadPlaces();

  constructor(options: MediaServiceOptions) {
    this.#options = options;
  }

  /**
   * Stores content. Returns its `mxc://` URI.
   *
   * @throws MatrixError M_FORBIDDEN when the user's quota is used up, M_TOO_LARGE, M_LIMIT_EXCEEDED, M_UNKNOWN (503) when files cannot be
   *   written
   */
  async upload(userId: string, upload: Upload): Promise<string> {
    const mediaId = this.#newId();
    const createdTs = this.#options.clock.now();
    await this.#receive(userId, mediaId, upload, (tx, content) =>
      insertMedia(tx, { origin: LOCAL, mediaId, userId, createdTs, expiresTs: null }, content),
    );
    return this.#uriOf(mediaId);
  }

  /** Gives out an id whose content is to come. @throws MatrixError M_LIMIT_EXCEEDED when too many are awaited already */
  async create(userId: string): Promise<{ readonly content_uri: string; readonly unused_expires_at: number }> {
    const { database, clock, maxPending, pendingLifetimeMs } = this.#options;
    const now = clock.now();
    const expiresTs = now + pendingLifetimeMs;
    const mediaId = this.#newId();
    await database.write(async (tx) => {
      await lockUploads(tx, userId);
      if ((await countPending(tx, userId, now)) >= maxPending) {
        throw limitExceeded(
          'pending_uploads',
          1_000,
          `You have ${maxPending} uploads that have not begun: finish them first.`,
        );
      }
      await insertMedia(tx, { origin: LOCAL, mediaId, userId, createdTs: now, expiresTs });
    });
    return { content_uri: this.#uriOf(mediaId), unused_expires_at: expiresTs };
  }

  /**
   * Stores the content of an id that was given out before.
   *
   * @throws MatrixError M_NOT_FOUND, M_FORBIDDEN when it was given to another user, M_CANNOT_OVERWRITE_MEDIA, M_TOO_LARGE
   */
  async fill(userId: string, serverName: string, mediaId: string, upload: Upload): Promise<void> {
    try {
      const media = serverName === this.#options.serverName ? await this.#find(serverName, mediaId) : undefined;
      if (media === undefined) throw noSuchMedia();
      if (media.userId !== userId) throw new MatrixError('M_FORBIDDEN', 'This id was given to another user.');
      if (media.blob !== null) throw overwriting();
      if ((media.expiresTs ?? Infinity) <= this.#options.clock.now()) throw noSuchMedia();
    } catch (error) {
      upload.content.destroy();
      throw error;
    }
    await this.#receive(userId, mediaId, upload, async (tx, content) => {
      if (!(await fillMedia(tx, mediaId, userId, content))) throw overwriting();
    });
    this.#arrived.emit(mediaId);
  }

  /**
   * Media that a request asks for. What is yet to come is waited for; what another server has is fetched.
   *
   * @throws MatrixError M_NOT_FOUND, M_NOT_YET_UPLOADED; M_UNKNOWN (503) when it cannot be scanned; for media of others what
   *   `RemoteMedia.fetch` throws
   */
  async get({ serverName, mediaId, party, timeoutMs, allowRemote, signal }: MediaParams): Promise<AvailableMedia> {
    const wait = Math.min(Math.max(timeoutMs ?? DEFAULT_WAIT_MS, 0), MAX_WAIT_MS);
    const isRemote = serverName !== this.#options.serverName;
    if (isRemote && allowRemote && MEDIA_ID.test(mediaId) && (await this.#find(serverName, mediaId)) === undefined)
      await this.#options.remote.fetch({ serverName, mediaId, party, waitMs: wait, signal });
    const there = await this.#available(serverName, mediaId);
    if (there !== undefined) return there;
    const arrival = this.#arrival(mediaId, wait, signal);
    try {
      // It may have come before this request listened.
      const come = await this.#available(serverName, mediaId);
      if (come !== undefined) return come;
      await arrival.come;
    } finally {
      arrival.stop();
    }
    const late = await this.#available(serverName, mediaId);
    if (late !== undefined) return late;
    throw new MatrixError('M_NOT_YET_UPLOADED', 'The content has not been uploaded yet. Try again later.');
  }

  /** Media whose content is there; undefined where it is yet to come. @throws MatrixError M_NOT_FOUND; M_UNKNOWN (503) */
  async #available(serverName: string, mediaId: string): Promise<AvailableMedia | undefined> {
    const { access, clock, scanner } = this.#options;
    const media = await this.#find(serverName, mediaId);
    if (media === undefined || media.quarantined) throw noSuchMedia();
    const { blob, contentType, expiresTs } = media;
    if (blob === null) {
      if ((expiresTs ?? Infinity) <= clock.now()) throw noSuchMedia();
      return undefined;
    }
    access.note(media);
    await scanner?.assertClean(blob);
    return { ...media, blob, contentType: contentType ?? DEFAULT_TYPE };
  }

  #arrival(mediaId: string, wait: number, signal: AbortSignal): { readonly come: Promise<void>; stop(): void } {
    let stop = (): void => undefined;
    const come = new Promise<void>((resolve) => {
      const timer = this.#options.timers.after(wait, resolve);
      const unsubscribe = this.#arrived.subscribe((arrived) => {
        if (arrived === mediaId) resolve();
      });
      const gone = (): void => resolve();
      signal.addEventListener('abort', gone, { once: true });
      stop = () => {
        timer.cancel();
        unsubscribe();
        signal.removeEventListener('abort', gone);
        resolve();
      };
    });
    return { come, stop: () => stop() };
  }

  async #find(serverName: string, mediaId: string): Promise<MediaRecord | undefined> {
    if (!MEDIA_ID.test(mediaId)) return undefined;
    return findMedia(this.#options.database, serverName === this.#options.serverName ? LOCAL : serverName, mediaId);
  }

  async #receive(
    userId: string,
    mediaId: string,
    { content, contentType, filename }: Upload,
    use: (tx: Tx, content: MediaDescription & { readonly blob: string }) => Promise<void>,
  ): Promise<void> {
    const { contents, database, maxUserBytes, maxUserFiles, policy } = this.#options;
    const most = { bytes: maxUserBytes, files: maxUserFiles };
    const described = describedAs(contentType, filename);
    try {
      await policy.mayUpload(userId);
      const release = this.#places.begin(userId, (error) => content.destroy(error));
      try {
        const used = await usageOfUser(database, userId);
        if (used.files >= (maxUserFiles ?? Infinity)) throw usedUp('media.max_user_files');
        if (used.bytes >= (maxUserBytes ?? Infinity)) throw usedUp('media.max_user_bytes');
        await contents.keep(
          content,
          async (tx, { name: blob, size }) => {
            if (!(await useSpace(tx, userId, size, most)))
              throw usedUp(maxUserBytes === null ? 'media.max_user_files' : 'media.max_user_bytes');
            await use(tx, { blob, size, ...described });
          },
          ({ digest, size }) => policy.mayKeepFile(userId, fileInfo(this.#uriOf(mediaId), digest, size, described)),
        );
      } finally {
        release();
      }
    } catch (error) {
      content.destroy();
      throw error;
    }
  }

  #newId(): string {
    return this.#options.random.string(ID_LENGTH);
  }

  #uriOf(mediaId: string): string {
    return formatMxcUri(this.#options.serverName, mediaId);
  }
}

/** The description of a file for the moderation tool. */
const fileInfo = (
  uri: string,
  sha256: string,
  bytes: number,
  { contentType, filename }: ReturnType<typeof describedAs>,
): JsonObject => ({ mxc: uri, sha256, bytes, content_type: contentType ?? null, filename: filename ?? null });

const overwriting = (): MatrixError =>
  new MatrixError('M_CANNOT_OVERWRITE_MEDIA', 'This media has its content already, which never changes.');

const usedUp = (quota: Quota): MatrixError =>
  quotaFull(quota, 'Your space for files on this server is used up, or does not suffice for this one.');
