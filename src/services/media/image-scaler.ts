import type library from 'sharp';
import type { Metadata, Sharp, SharpOptions } from 'sharp';
import type { ThumbnailKey } from '#src/storage/media/thumbnails.ts';

/** Pixels of an image that is decoded, all pages of an animation together. A bomb says at its head how large it is. */
const MOST_PIXELS = 64_000_000;
/** Pages of an animation. */
const MOST_PAGES = 200;
/** Milliseconds for one image, whatever it holds. */
const TIMEOUT_S = 20;
const READABLE: ReadonlySet<string> = new Set(['jpeg', 'png', 'gif', 'webp', 'heif', 'tiff']);

/** A thumbnail, made. */
export interface ScaledImage {
  readonly bytes: Buffer;
  readonly contentType: string;
}

/** What cannot be made a thumbnail of: it is no image, a broken one, or too large a one. */
export type ScalingRefusal = 'no image' | 'too large' | 'smaller';

/**
 * Makes images smaller, in threads of the image library. The orientation that a camera noted is carried out, everything else that an
 * image says of itself (its place, say) is left out.
 */
export class ImageScaler {
  #library: Promise<{ readonly default: typeof library }> | undefined;

  /**
   * @returns the image, or why there is none; 'smaller' when it is no larger than what is asked for
   */
  async scale(
    image: Buffer,
    { width, height, method, animated }: Pick<ThumbnailKey, 'width' | 'height' | 'method' | 'animated'>,
  ): Promise<ScaledImage | ScalingRefusal> {
    const sharp = await this.#sharp();
    const options: SharpOptions = { limitInputPixels: MOST_PIXELS, sequentialRead: true, failOn: 'error' };
    let metadata: Metadata;
    try {
      metadata = await sharp(image, options).metadata();
    } catch {
      return 'no image';
    }
    if (!READABLE.has(metadata.format ?? '')) return 'no image';
    const pages = metadata.pages ?? 1;
    if (metadata.width * metadata.height * (animated ? pages : 1) > MOST_PIXELS) return 'too large';
    const isSmaller = isWithin(metadata, width, height);
    const moves = animated && pages > 1 && pages <= MOST_PAGES;
    if (isSmaller) return 'smaller';
    try {
      const source = sharp(image, { ...options, pages: moves ? -1 : 1 })
        .timeout({ seconds: TIMEOUT_S })
        .autoOrient();
      const resized = source.resize({
        width,
        height,
        fit: method === 'crop' ? 'cover' : 'inside',
        withoutEnlargement: true,
      });
      return await written(resized, metadata, moves);
    } catch {
      return 'no image';
    }
  }

  async #sharp(): Promise<typeof library> {
    if (this.#library === undefined) {
      this.#library = import('sharp');
      const { default: sharp } = await this.#library;
      // One image at a time takes one thread; nothing is kept afterwards.
      sharp.concurrency(1);
      sharp.cache(false);
    }
    return (await this.#library).default;
  }
}

const isWithin = ({ width, height, orientation }: Metadata, most: number, highest: number): boolean => {
  const isTurned = (orientation ?? 1) >= 5;
  return isTurned ? height <= most && width <= highest : width <= most && height <= highest;
};

const written = async (image: Sharp, { hasAlpha, format }: Metadata, moves: boolean): Promise<ScaledImage> => {
  if (moves) return { bytes: await image.webp({ quality: 80 }).toBuffer(), contentType: 'image/webp' };
  if (hasAlpha === true || format === 'png' || format === 'gif')
    return { bytes: await image.png({ compressionLevel: 6 }).toBuffer(), contentType: 'image/png' };
  return { bytes: await image.jpeg({ quality: 80 }).toBuffer(), contentType: 'image/jpeg' };
};
