/** A size in pixels, and how an image is brought into it: cut to it, or made to fit into it. */
export interface ThumbnailSize {
  readonly width: number;
  readonly height: number;
  readonly method: 'crop' | 'scale';
}

/** "Servers SHOULD produce thumbnails with the following dimensions and methods", and larger ones for large screens. */
const BOXES = [
  [320, 240],
  [640, 480],
  [800, 600],
  [1280, 960],
  [1920, 1440],
] as const;
const LONG_SIDES = [32, 96, 160, 320, 640, 800, 1280, 1920];
/** Ratios of the long side to the short one: what is asked for gets the nearest one, so that an image has a bounded number of thumbnails. */
const RATIOS = [1, 5 / 4, 4 / 3, 3 / 2, 16 / 9, 2, 3];
/** Larger than every image that is decoded: the image as large as it is. */
const WHOLE: ThumbnailSize = { width: 65_535, height: 65_535, method: 'scale' };

/**
 * The size that serves a request. "Servers must never return thumbnails smaller than the client's requested dimensions, unless the content
 * being thumbnailed is smaller than the dimensions"; "crop" has the requested aspect ratio, or nearly so. Client-Server API, "Thumbnails".
 *
 * @param params positive numbers
 */
export const thumbnailSize = (params: {
  readonly width: number;
  readonly height: number;
  readonly method: 'crop' | 'scale' | undefined;
}): ThumbnailSize => {
  const { height, method, width } = params;
  if (method !== 'crop') {
    const box = BOXES.find(([wide, high]) => wide >= width && high >= height);
    return box === undefined ? WHOLE : { width: box[0], height: box[1], method: 'scale' };
  }
  const [long, short] = width >= height ? [width, height] : [height, width];
  const away = (ratio: number): number => Math.abs(Math.log(ratio / (long / short)));
  const ratio = RATIOS.reduce((best, one) => (away(one) < away(best) ? one : best));
  const side = LONG_SIDES.find((one) => one >= long && Math.round(one / ratio) >= short);
  if (side === undefined) return WHOLE;
  const other = Math.round(side / ratio);
  return width >= height
    ? { width: side, height: other, method: 'crop' }
    : { width: other, height: side, method: 'crop' };
};
