import { formatMxcUri } from '#src/protocol/identifiers/identifiers.ts';
import { Readable } from 'node:stream';
import type { Clock } from '#src/kernel/clock.ts';
import type { Random } from '#src/kernel/random.ts';
import type { RateLimiter } from '#src/kernel/limits/rate-limiter.ts';
import type { ContentStore } from '#src/services/media/content-store.ts';
import type { ImageScaler } from '#src/services/media/image-scaler.ts';
import { insertMedia, LOCAL } from '#src/storage/media/media.ts';
import { releaseNamed } from '#src/storage/media/references.ts';
import type { PageFetcher } from './page-fetcher.ts';

/** The picture of a preview, kept on this server. */
export interface PreviewImage {
  /** `mxc://` */
  readonly uri: string;
  readonly contentType: string;
  /** Bytes, and pixels as they are shown. */
  readonly size: number;
  readonly width: number;
  readonly height: number;
}

export interface PreviewImagesOptions {
  readonly fetcher: PageFetcher;
  readonly contents: ContentStore;
  readonly scaler: ImageScaler;
  readonly clock: Clock;
  readonly random: Random;
  /** Asked for as many tokens of `url_preview_bytes` as a picture has bytes, by the user who asks. */
  readonly rateLimiter: RateLimiter;
  readonly serverName: string;
  readonly maxBytes: number;
}

const ID_LENGTH = 24;
const ACCEPT = 'image/webp,image/png,image/jpeg,image/gif;q=0.9,image/*;q=0.5';

/** Stores pictures of pages, so that clients fetch them from their own server, and the pages' servers do not learn who looks at them. */
export class PreviewImages {
  readonly #options: PreviewImagesOptions;

  constructor(options: PreviewImagesOptions) {
    this.#options = options;
  }

  /** The picture at a URL; undefined when there is none that can be shown. */
  async fetch(url: URL, userId: string): Promise<PreviewImage | undefined> {
    const { fetcher, maxBytes } = this.#options;
    const fetched = await fetcher.fetch(url, { accept: ACCEPT, maxBytes: () => maxBytes, cuts: false });
    return typeof fetched === 'string' ? undefined : this.keep(fetched.bytes, userId);
  }

  /**
   * Stores a picture, whose type is found from its bytes. Without references it is deleted as other unreferenced media, unless a user shares
   * it. It counts for the requesting user, so that no user fills the disk.
   *
   * @returns undefined for what is no picture, or more than is kept for this user
   */
  async keep(bytes: Buffer, userId: string): Promise<PreviewImage | undefined> {
    const { clock, contents, random, rateLimiter, scaler, serverName } = this.#options;
    const measured = await scaler.measure(bytes);
    if (measured === undefined || !rateLimiter.take('url_preview_bytes', userId, bytes.length).ok) return undefined;
    const { contentType, height, width } = measured;
    const mediaId = random.string(ID_LENGTH);
    const now = clock.now();
    await contents.keep(Readable.from([bytes]), async (tx, { name: blob, size }) => {
      const media = { origin: LOCAL, mediaId, userId: '', createdTs: now, expiresTs: null };
      await insertMedia(tx, media, { blob, size, contentType, filename: undefined });
      await releaseNamed(tx, [mediaId], media.userId, now);
    });
    return { uri: formatMxcUri(serverName, mediaId), contentType, size: bytes.length, width, height };
  }
}
