/** Types that a browser may show where it finds them. Client-Server API, "Serving inline content". */
const INLINE: ReadonlySet<string> = new Set([
  'text/css',
  'text/plain',
  'text/csv',
  'application/json',
  'application/ld+json',
  'image/jpeg',
  'image/gif',
  'image/png',
  'image/apng',
  'image/webp',
  'image/avif',
  'video/mp4',
  'video/webm',
  'video/ogg',
  'video/quicktime',
  'audio/mp4',
  'audio/webm',
  'audio/aac',
  'audio/mpeg',
  'audio/ogg',
  'audio/wave',
  'audio/wav',
  'audio/x-wav',
  'audio/x-pn-wav',
  'audio/flac',
  'audio/x-flac',
]);

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const ASCII = /^[\x20-\x7e]*$/;

/** A name as RFC 5987 writes it. */
const extended = (name: string): string =>
  encodeURIComponent(name.toWellFormed()).replace(
    /['()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );

const parameter = (name: string): string => {
  if (TOKEN.test(name)) return `filename=${name}`;
  if (ASCII.test(name)) return `filename="${name.replace(/[\\"]/g, '\\$&')}"`;
  return `filename*=utf-8''${extended(name)}`;
};

/**
 * The `Content-Disposition` of media: "inline or attachment", with the file's name where there is one. RFC 6266; Client-Server API,
 * `GET /_matrix/client/v1/media/download/{serverName}/{mediaId}`.
 */
export const contentDisposition = (contentType: string, filename: string | undefined): string => {
  const type = contentType.split(';', 1)[0]?.trim().toLowerCase() ?? '';
  const disposition = INLINE.has(type) ? 'inline' : 'attachment';
  return filename === undefined || filename === '' ? disposition : `${disposition}; ${parameter(filename)}`;
};
