import type library from 'sharp';
import type { Metadata, Sharp, SharpOptions } from 'sharp';
import type { ThumbnailKey } from '#src/storage/media/thumbnails.ts';

/** Pixels of an image that is decoded, all frames of an animation together. The header of a decompression bomb contains its dimensions. */
export const MAX_PIXELS = 64_000_000;
/** Frames of an animation; of one that has more, the first is shown. */
export const MAX_FRAMES = 200;
/** Seconds for one image, whatever it holds. */
const TIMEOUT_S = 20;
const READABLE: ReadonlySet<string> = new Set(['jpeg', 'png', 'gif', 'webp', 'heif', 'tiff']);
/** Image types that every browser can display. */
const SHOWN: Readonly<Record<string, string>> = {
  jpeg: 'image/jpeg',
  png: 'image/png',
  gif: 'image/gif',
  webp: 'image/webp',
};
/** The decoders in use. No other part of the image library ever gets a file: no documents, no vector graphics, no exotic formats. */
const LOADERS = [
  'VipsForeignLoadJpeg',
  'VipsForeignLoadPng',
  'VipsForeignLoadNsgif',
  'VipsForeignLoadWebp',
  'VipsForeignLoadHeif',
  'VipsForeignLoadTiff',
];

/** A generated thumbnail. */
export interface ScaledImage {
  readonly bytes: Buffer;
  readonly contentType: string;
}

/** Why there is no thumbnail of something: it is no image that can be read, or too large a one. */
export type ScalingRefusal = 'no image' | 'too large';

/** The image is no larger than what is asked for, and has no metadata: it is served as it is. */
export interface SmallImage {
  readonly isSmall: true;
  readonly contentType: string;
}

/**
 * Scales images down, in threads of the image library. The orientation in the metadata is applied, all other
 * metadata (such as the location) is left out.
 */
export class ImageScaler {
  #library: Promise<typeof library> | undefined;

  /**
   * What an image is, by its bytes: its type, and its pixels as they are shown. Nothing of it is decoded.
   *
   * @returns undefined for what is no image that every browser shows, or too large a one
   */
  async measure(
    image: Buffer,
  ): Promise<{ readonly contentType: string; readonly width: number; readonly height: number } | undefined> {
    this.#library ??= load();
    const sharp = await this.#library;
    let metadata: Metadata;
    try {
      metadata = await sharp(image, { limitInputPixels: MAX_PIXELS, failOn: 'error' }).metadata();
    } catch {
      return undefined;
    }
    const { format, height, orientation = 1, pageHeight, width } = metadata;
    const contentType = Object.hasOwn(SHOWN, format) ? SHOWN[format] : undefined;
    if (contentType === undefined || width * height > MAX_PIXELS) return undefined;
    const shown = pageHeight ?? height;
    return orientation >= 5 ? { contentType, width: shown, height: width } : { contentType, width, height: shown };
  }

  /** @returns the image, or why there is none */
  async scale(
    image: Buffer,
    { width, height, method, animated }: Pick<ThumbnailKey, 'width' | 'height' | 'method' | 'animated'>,
  ): Promise<ScaledImage | SmallImage | ScalingRefusal> {
    this.#library ??= load();
    const sharp = await this.#library;
    const options: SharpOptions = { limitInputPixels: MAX_PIXELS, sequentialRead: true, failOn: 'error' };
    let metadata: Metadata;
    try {
      metadata = await sharp(image, options).metadata();
    } catch (error) {
      return error instanceof Error && error.message.includes('exceeds pixel limit') ? 'too large' : 'no image';
    }
    if (!READABLE.has(metadata.format ?? '')) return 'no image';
    const pixels = metadata.width * metadata.height;
    if (pixels > MAX_PIXELS) return 'too large';
    const frames = metadata.pages ?? 1;
    const moves = animated && frames > 1 && frames <= MAX_FRAMES && pixels * frames <= MAX_PIXELS;
    // Clients that asked for a still image do not get an animated one, and metadata such as the location is never served.
    const contentType = SHOWN[metadata.format ?? ''];
    if (contentType !== undefined && isWithin(metadata, width, height) && isPlain(metadata) && (moves || frames === 1))
      return { isSmall: true, contentType };
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
}

const load = async (): Promise<typeof library> => {
  const { default: sharp } = await import('sharp');
  // One image at a time takes one thread; nothing is kept afterwards.
  sharp.concurrency(1);
  sharp.cache(false);
  sharp.block({ operation: ['VipsForeignLoad'] });
  sharp.unblock({ operation: LOADERS });
  return sharp;
};

const isPlain = ({ exif, iptc, orientation, xmp }: Metadata): boolean =>
  exif === undefined && iptc === undefined && xmp === undefined && (orientation ?? 1) === 1;

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
