import { Tally } from '#src/kernel/tally.ts';
import type { Readable } from 'node:stream';
import { requestedRange } from '#src/protocol/media/byte-range.ts';
import { contentDisposition } from '#src/protocol/media/content-disposition.ts';
import { contentMissing, type ContentStore } from './content-store.ts';
import type { ServedContent } from './thumbnail-service.ts';

/** "Content-Security-Policy: sandbox; …" Client-Server API, "Content repository". */
const POLICY =
  "sandbox; default-src 'none'; script-src 'none'; plugin-types application/pdf; style-src 'unsafe-inline'; object-src 'self';";
/** What an `mxc://` URI names never changes. */
const CACHING = 'private, max-age=31536000, immutable';

/** Conditions of a request: conditional headers, range, and redirects. */
export interface DeliveryConditions {
  readonly range: string | undefined;
  readonly ifRange: string | undefined;
  readonly ifNoneMatch: string | undefined;
  /** Whether only the head of the answer is wanted. */
  readonly isHead: boolean;
  /** Whether the client follows a redirect to where the bytes lie. */
  readonly mayRedirect: boolean;
}

/** A response: status, headers, and bytes where there are some. */
export interface Delivery {
  readonly status: 200 | 206 | 304 | 307 | 416;
  readonly headers: Readonly<Record<string, string>>;
  readonly contentType: string;
  readonly content: Readable | undefined;
  readonly length: number;
}

/** Serves contents over HTTP: whole, in ranges, or 304. RFC 9110. */
export class MediaDelivery {
  readonly #contents: ContentStore;
  /** Answers that were begun, and bytes that they have. */
  readonly counts = new Tally('whole', 'part', 'not_modified', 'redirect', 'head');
  sentBytes = 0;

  constructor(contents: ContentStore) {
    this.#contents = contents;
  }

  /** @throws MatrixError M_NOT_FOUND when the bytes are not there; M_UNKNOWN (503) */
  async deliver(
    { blob, contentType }: ServedContent,
    filename: string | undefined,
    { ifNoneMatch, ifRange, isHead, mayRedirect, range }: DeliveryConditions,
  ): Promise<Delivery> {
    const { digest, size } = blob;
    const etag = `"${digest}"`;
    const disposition = contentDisposition(contentType, filename);
    const headers: Record<string, string> = {
      'Content-Disposition': disposition,
      'Content-Security-Policy': POLICY,
      'X-Content-Type-Options': 'nosniff',
      'Cross-Origin-Resource-Policy': 'cross-origin',
      'Cache-Control': CACHING,
      'Accept-Ranges': 'bytes',
      ETag: etag,
    };
    const nothing = { headers, contentType, content: undefined, length: 0 };
    if (ifNoneMatch !== undefined && isNamed(etag, ifNoneMatch)) {
      this.counts.add('not_modified');
      return { status: 304, ...nothing };
    }
    if (mayRedirect) {
      const link = { contentType, contentDisposition: disposition, cacheControl: CACHING };
      const address = await this.#contents.link(blob, link);
      // The address is good for some minutes, so the redirect is not to be kept.
      if (address !== undefined) {
        this.counts.add('redirect');
        return { status: 307, ...nothing, headers: { ...headers, 'Cache-Control': 'no-store', Location: address } };
      }
    }
    // "If the validator does not match, the server SHOULD ignore the Range header field". RFC 9110, 13.1.5.
    const part = ifRange === undefined || ifRange.trim() === etag ? requestedRange(range, size) : undefined;
    if (part === 'unsatisfiable')
      return { status: 416, ...nothing, headers: { ...headers, 'Content-Range': `bytes */${size}` } };
    const length = part === undefined ? size : part.last - part.first + 1;
    if (part !== undefined) headers['Content-Range'] = `bytes ${part.first}-${part.last}/${size}`;
    const status = part === undefined ? 200 : 206;
    this.counts.add(isHead ? 'head' : part === undefined ? 'whole' : 'part');
    if (isHead) return { status, ...nothing, length };
    const content = await this.#contents.open(blob, part);
    if (content === undefined) throw contentMissing();
    this.sentBytes += length;
    return { status, headers, contentType, content, length };
  }
}

/** Whether `If-None-Match` names a tag. It is compared weakly. RFC 9110, 13.1.2. */
const isNamed = (etag: string, header: string): boolean =>
  header.split(',').some((tag) => tag.trim() === '*' || tag.trim().replace(/^W\//, '') === etag);
