import type { Readable } from 'node:stream';
import type { BlobStore } from '#src/blobs/blob-store.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { requestedRange } from '#src/protocol/media/byte-range.ts';
import { contentDisposition } from '#src/protocol/media/content-disposition.ts';
import type { ServedBlob } from './thumbnail-service.ts';

/** "Content-Security-Policy: sandbox; …" Client-Server API, "Content repository". */
const POLICY =
  "sandbox; default-src 'none'; script-src 'none'; plugin-types application/pdf; style-src 'unsafe-inline'; object-src 'self';";
/** What an `mxc://` URI names never changes. */
const CACHING = 'private, max-age=31536000, immutable';

/** What a request says of what it has already. */
export interface DeliveryConditions {
  readonly range: string | undefined;
  readonly ifNoneMatch: string | undefined;
}

/** What is handed out: status, headers, and bytes where there are some. */
export interface Delivery {
  readonly status: 200 | 206 | 304 | 416;
  readonly headers: Readonly<Record<string, string>>;
  readonly contentType: string;
  readonly content: Readable | undefined;
  readonly length: number;
}

/** Hands out blobs as HTTP wants it: whole, in parts, or not again. RFC 9110. */
export class MediaDelivery {
  readonly #blobs: BlobStore;

  constructor(blobs: BlobStore) {
    this.#blobs = blobs;
  }

  /** @throws MatrixError M_NOT_FOUND when the bytes are not there */
  async deliver(
    { contentType, digest, size }: ServedBlob,
    filename: string | undefined,
    { ifNoneMatch, range }: DeliveryConditions,
  ): Promise<Delivery> {
    const etag = `"${digest}"`;
    const headers: Record<string, string> = {
      'Content-Disposition': contentDisposition(contentType, filename),
      'Content-Security-Policy': POLICY,
      'X-Content-Type-Options': 'nosniff',
      'Cross-Origin-Resource-Policy': 'cross-origin',
      'Cache-Control': CACHING,
      'Accept-Ranges': 'bytes',
      ETag: etag,
    };
    const nothing = { headers, contentType, content: undefined, length: 0 };
    if (ifNoneMatch?.split(',').some((tag) => tag.trim() === etag || tag.trim() === '*') === true)
      return { status: 304, ...nothing };
    const part = requestedRange(range, size);
    if (part === 'unsatisfiable')
      return { status: 416, ...nothing, headers: { ...headers, 'Content-Range': `bytes */${size}` } };
    const content = await this.#blobs.open(digest, part);
    if (content === undefined) throw new MatrixError('M_NOT_FOUND', 'The content of this media is gone.');
    if (part === undefined) return { status: 200, headers, contentType, content, length: size };
    headers['Content-Range'] = `bytes ${part.first}-${part.last}/${size}`;
    return { status: 206, headers, contentType, content, length: part.last - part.first + 1 };
  }
}
