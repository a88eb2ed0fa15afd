import type { MediaDescription } from '#src/storage/media/media.ts';

export const DEFAULT_TYPE = 'application/octet-stream';
/** A type as it can stand in a header. */
const CONTENT_TYPE = /^[\x20-\x7e]{1,255}$/;
const MAX_NAME_LENGTH = 255;

/** Type and name of a file, as far as those that an uploader or another server gave are valid. */
export const describedAs = (
  contentType: string | undefined,
  filename: string | undefined,
): Pick<MediaDescription, 'contentType' | 'filename'> => ({
  contentType: contentType === undefined || !CONTENT_TYPE.test(contentType) ? DEFAULT_TYPE : contentType,
  filename: filename?.toWellFormed().replaceAll('\0', '').slice(0, MAX_NAME_LENGTH),
});
