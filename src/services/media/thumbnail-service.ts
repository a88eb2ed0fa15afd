import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import type { BlobStore } from '#src/blobs/blob-store.ts';
import { Gate } from '#src/kernel/gate.ts';
import { OnceByKey } from '#src/kernel/once.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { Database } from '#src/storage/database.ts';
import { findThumbnail, insertThumbnail, type ThumbnailKey } from '#src/storage/media/thumbnails.ts';
import type { ImageScaler } from './image-scaler.ts';
import type { AvailableMedia } from './media-service.ts';

/** "Servers SHOULD produce thumbnails with the following dimensions and methods". Client-Server API, "Thumbnails". */
const SIZES = [
  { width: 32, height: 32, method: 'crop' },
  { width: 96, height: 96, method: 'crop' },
  { width: 320, height: 240, method: 'scale' },
  { width: 640, height: 480, method: 'scale' },
  { width: 800, height: 600, method: 'scale' },
] as const;
/** Bytes of an image that is looked at. */
const LARGEST_IMAGE = 50 * 1024 * 1024;
/** Images that are scaled at once. */
const AT_ONCE = 2;

/** What a client asks for. */
export interface ThumbnailWish {
  readonly width: number;
  readonly height: number;
  readonly method: 'crop' | 'scale' | undefined;
  readonly animated: boolean;
}

/** Bytes that can be handed out. */
export interface ServedBlob {
  readonly digest: string;
  readonly size: number;
  readonly contentType: string;
}

export interface ThumbnailServiceOptions {
  readonly database: Database;
  readonly blobs: BlobStore;
  readonly scaler: ImageScaler;
}

/** Smaller forms of images, each made once. Client-Server API, "Thumbnails". */
export class ThumbnailService {
  readonly #options: ThumbnailServiceOptions;
  readonly #gate = new Gate(AT_ONCE);
  readonly #making = new OnceByKey<string, ServedBlob>();

  constructor(options: ThumbnailServiceOptions) {
    this.#options = options;
  }

  /**
   * The thumbnail of an image: the image itself where it is no larger.
   *
   * @throws MatrixError M_INVALID_PARAM for a size that is none; M_UNKNOWN for what is no image; M_TOO_LARGE for too large a one
   */
  async thumbnail(media: AvailableMedia, wish: ThumbnailWish): Promise<ServedBlob> {
    if (wish.width < 1 || wish.height < 1)
      throw new MatrixError('M_INVALID_PARAM', 'width and height must be positive.');
    const size = sizeFor(wish);
    const key: ThumbnailKey = { source: media.digest, ...size, animated: wish.animated };
    const known = await findThumbnail(this.#options.database, key);
    if (known !== undefined) return known;
    return this.#making.run(JSON.stringify(key), () => this.#gate.run(() => this.#make(media, key)));
  }

  async #make(media: AvailableMedia, key: ThumbnailKey): Promise<ServedBlob> {
    const { blobs, database, scaler } = this.#options;
    if (media.size > LARGEST_IMAGE) throw tooLarge();
    const content = await blobs.open(media.digest);
    if (content === undefined) throw new MatrixError('M_NOT_FOUND', 'The content of this media is gone.');
    const scaled = await scaler.scale(await buffer(content), key);
    if (scaled === 'smaller') return media;
    if (scaled === 'too large') throw tooLarge();
    if (scaled === 'no image')
      throw new MatrixError(
        'M_UNKNOWN',
        'There is no thumbnail of this media: it is no image that this server can read.',
      );
    const blob = await blobs.put(Readable.from([scaled.bytes]));
    await insertThumbnail(database, { ...key, ...blob, contentType: scaled.contentType });
    return { ...blob, contentType: scaled.contentType };
  }
}

const tooLarge = (): MatrixError => new MatrixError('M_TOO_LARGE', 'This image is too large for a thumbnail.');

/**
 * The size that serves a wish. "Servers must never return thumbnails smaller than the client's requested dimensions, unless the content
 * being thumbnailed is smaller than the dimensions."
 */
const sizeFor = ({ width, height, method }: ThumbnailWish): Pick<ThumbnailKey, 'width' | 'height' | 'method'> => {
  const wanted = method ?? 'scale';
  const fits = SIZES.find((size) => size.width >= width && size.height >= height && size.method === wanted);
  if (fits !== undefined) return fits;
  if (wanted === 'crop') {
    // A square that is larger than the usual ones.
    const side = Math.min(Math.max(width, height), 800);
    const step = [160, 240, 320, 480, 640, 800].find((one) => one >= side) ?? 800;
    return { width: step, height: step, method: 'crop' };
  }
  const largest = SIZES.at(-1) ?? SIZES[0];
  return { width: largest.width, height: largest.height, method: 'scale' };
};
