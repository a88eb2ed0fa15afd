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

const EXTENDED = /(?:^|;)\s*filename\*\s*=\s*(utf-8|iso-8859-1)'[^']*'([^\s;]*)/i;
const PLAIN = /(?:^|;)\s*filename\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))/i;

/** The name that a `Content-Disposition` gives a file, as far as it can be read; without directories. RFC 6266, 4.3; RFC 8187. */
export const filenameIn = (header: string | undefined): string | undefined => {
  if (header === undefined) return undefined;
  const [, charset, encoded] = EXTENDED.exec(header) ?? [];
  const [, quoted, token] = PLAIN.exec(header) ?? [];
  const plain = quoted?.replace(/\\(.)/g, '$1') ?? token;
  const name = (encoded === undefined ? undefined : decoded(charset, encoded)) ?? asUtf8(plain);
  // "recipients MUST NOT be able to write into any location other than one to which they are specifically entitled."
  return name?.split(/[/\\]/).at(-1) || undefined;
};

const decoded = (charset: string | undefined, text: string): string | undefined => {
  try {
    if (charset?.toLowerCase() === 'utf-8') return decodeURIComponent(text);
    return text.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  } catch {
    return undefined;
  }
};

/** Headers are read byte by byte; many servers write UTF-8 into them. */
const asUtf8 = (text: string | undefined): string | undefined => {
  if (text === undefined || ASCII.test(text)) return text;
  const bytes = Buffer.from(text, 'latin1');
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return text;
  }
};
