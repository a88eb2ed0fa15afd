import { Tally } from '#src/kernel/tally.ts';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { LRUCache } from 'lru-cache';
import { atMost } from '#src/kernel/caches/at-most.ts';
import { FairGate } from '#src/kernel/limits/fair-gate.ts';
import { OnceByKey } from '#src/kernel/caches/once.ts';
import { thumbnailSize } from '#src/protocol/media/thumbnail-size.ts';
import { limitExceeded } from '#src/protocol/errors/limit-exceeded.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { Database, Tx } from '#src/storage/database.ts';
import { findThumbnail, insertThumbnail, type ThumbnailKey } from '#src/storage/media/thumbnails.ts';
import type { BlobRecord } from '#src/storage/media/blobs.ts';
import { contentMissing, type ContentStore } from './content-store.ts';
import type { ImageScaler, ScalingRefusal } from './image-scaler.ts';
import type { AvailableMedia } from './media-service.ts';

/** Bytes of an image that is looked at. */
export const MAX_IMAGE_SIZE = 50 * 1024 * 1024;
/** Images that are scaled at once. */
export const CONCURRENCY = 2;
/** Thumbnails of one user that wait for one of these. */
export const MAX_WAITING = 64;
const REMEMBERED_REFUSALS = 10_000;

/** What a client asks for. */
export interface ThumbnailParams {
  readonly width: number;
  readonly height: number;
  readonly method: 'crop' | 'scale' | undefined;
  readonly animated: boolean;
}

/** Bytes that can be handed out. */
export interface ServedContent {
  readonly blob: BlobRecord;
  readonly contentType: string;
}

export interface ThumbnailServiceOptions {
  readonly database: Database;
  readonly contents: ContentStore;
  readonly scaler: ImageScaler;
}

/** Makes thumbnails, each once. Client-Server API, "Thumbnails". */
export class ThumbnailService {
  readonly #options: ThumbnailServiceOptions;
  readonly #gate = new FairGate({ concurrency: CONCURRENCY, maxWaiting: MAX_WAITING });
  /** Failures, so that they are not tried again for each request. */
  readonly #refused = new LRUCache<string, ScalingRefusal>(atMost(REMEMBERED_REFUSALS));
  /** Outcomes of requests. */
  readonly counts = new Tally('known', 'made', 'failed');
  readonly #making = new OnceByKey<string, ServedContent>();

  constructor(options: ThumbnailServiceOptions) {
    this.#options = options;
  }

  /**
   * The thumbnail of an image: the image itself where it is no larger.
   *
   * @param party the requester, for taking turns
   * @throws MatrixError M_INVALID_PARAM for a size that is none; M_UNKNOWN for what is no image; M_TOO_LARGE for too large a one;
   *   M_LIMIT_EXCEEDED when too many wait
   */
  async thumbnail(media: AvailableMedia, params: ThumbnailParams, party: string): Promise<ServedContent> {
    if (params.width < 1 || params.height < 1)
      throw new MatrixError('M_INVALID_PARAM', 'width and height must be positive.');
    const size = thumbnailSize(params);
    const key: ThumbnailKey = { source: media.blob.name, ...size, animated: params.animated };
    const known = await findThumbnail(this.#options.database, key);
    if (known !== undefined) {
      this.counts.add('known');
      return known;
    }
    assertScaled(this.#refused.get(key.source));
    return this.#making.run(JSON.stringify(key), () =>
      this.#gate.run({ party, isPreferred: false }, () => this.#counted(media, key), busy),
    );
  }

  async #counted(media: AvailableMedia, key: ThumbnailKey): Promise<ServedContent> {
    try {
      const made = await this.#make(media, key);
      this.counts.add('made');
      return made;
    } catch (error) {
      this.counts.add('failed');
      throw error;
    }
  }

  async #make(media: AvailableMedia, key: ThumbnailKey): Promise<ServedContent> {
    const { contents, database, scaler } = this.#options;
    if (media.blob.size > MAX_IMAGE_SIZE) throw tooLarge();
    const content = await contents.open(media.blob);
    if (content === undefined) throw contentMissing();
    const scaled = await scaler.scale(await buffer(content), key);
    if (typeof scaled === 'string') this.#refused.set(key.source, scaled);
    assertScaled(scaled);
    const { contentType } = scaled;
    const noted = async (tx: Tx, blob: BlobRecord): Promise<ServedContent> => {
      if (await insertThumbnail(tx, key, { blob: blob.name, contentType })) return { blob, contentType };
      throw new AlreadyMadeError();
    };
    try {
      if ('isSmall' in scaled) return await database.write((tx) => noted(tx, media.blob));
      return await contents.keep(Readable.from([scaled.bytes]), noted);
    } catch (error) {
      if (!(error instanceof AlreadyMadeError)) throw error;
      const known = await findThumbnail(database, key);
      if (known === undefined) throw contentMissing();
      return known;
    }
  }
}

/** Another process has made the same thumbnail, or its image is being deleted. */
class AlreadyMadeError extends Error {}

const busy = (): MatrixError =>
  limitExceeded('thumbnails', 2_000, 'Too many thumbnails are being made: try again shortly.');

function assertScaled<T>(scaled: T | ScalingRefusal): asserts scaled is Exclude<T, ScalingRefusal> {
  if (scaled === 'too large') throw tooLarge();
  if (scaled === 'no image')
    throw new MatrixError(
      'M_UNKNOWN',
      'There is no thumbnail of this media: it is no image that this server can read.',
    );
}

const tooLarge = (): MatrixError => new MatrixError('M_TOO_LARGE', 'This image is too large for a thumbnail.');
