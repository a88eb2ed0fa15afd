import { filenameIn } from '#src/protocol/media/content-disposition.ts';
import { boundaryOf, MixedFault, MixedReader } from '#src/protocol/media/multipart-mixed.ts';
import type { OutboundHttp } from '../outbound-http.ts';
import type { FederationClient } from './federation-client.ts';
import type { FederationStream } from './federation-request.ts';
import { type FederationFailure, federationFailure } from './federation-result.ts';

/** A file of another server. */
export interface RemoteFile {
  readonly ok: true;
  readonly contentType: string | undefined;
  readonly filename: string | undefined;
  /** Throws `RemoteFileFault` when the file is too large or incomplete. */
  readonly content: AsyncIterable<Buffer>;
  /** Discards what is not read yet. Must always be called. */
  discard(): Promise<void>;
}

/** A file that was not received completely. */
export class RemoteFileFault extends Error {
  readonly failure: FederationFailure;

  constructor(failure: FederationFailure) {
    super(failure.error);
    this.name = 'RemoteFileFault';
    this.failure = failure;
  }
}

export interface MediaApiOptions {
  readonly client: Pick<FederationClient, 'stream'>;
  /** Fetches from the URL to which a server redirects. */
  readonly outbound: Pick<OutboundHttp, 'stream'>;
  /** Bytes of a file. */
  readonly maxBytes: number;
}

/** Bytes around the file in a `multipart/mixed` body. */
const OVERHEAD_BYTES = 65_536;
/** Bytes of the part with the metadata. */
const MAX_METADATA_BYTES = 32_768;
/** Milliseconds for a whole file, and beyond what the other server was asked to wait until it begins. */
const TOTAL_MS = 600_000;
const HEADERS_MS = 20_000;
const BODY_MS = 30_000;
export const MAX_REDIRECTS = 3;

/** Fetches files from other servers. Server-Server API, "Content Repository". */
export class MediaApi {
  readonly #options: MediaApiOptions;

  constructor(options: MediaApiOptions) {
    this.#options = options;
  }

  /**
   * A file of a server, by the authenticated endpoint, or by that of before v1.11 where the server does not know the other.
   *
   * @param waitMs how long the server is to wait for a file that is not uploaded yet
   */
  async download(destination: string, mediaId: string, waitMs: number): Promise<RemoteFile | FederationFailure> {
    const id = encodeURIComponent(mediaId);
    const response = await this.#stream(
      destination,
      `/_matrix/federation/v1/media/download/${id}`,
      { timeout_ms: String(waitMs) },
      waitMs,
    );
    if (response.ok) return this.#partsOf(response, destination);
    if (!isUnrecognized(response)) return response;
    // "allow_remote: Indicates to the server that it should not attempt to fetch the media if it is deemed remote."
    const old = await this.#stream(
      destination,
      `/_matrix/media/v3/download/${encodeURIComponent(destination)}/${id}`,
      { allow_remote: 'false', timeout_ms: String(waitMs) },
      waitMs,
    );
    return old.ok ? this.#fileOf(old, destination) : old;
  }

  #stream(
    destination: string,
    path: string,
    query: Readonly<Record<string, string>>,
    waitMs: number,
  ): Promise<FederationStream | FederationFailure> {
    return this.#options.client.stream({
      destination,
      method: 'GET',
      path,
      query,
      maxBodyBytes: this.#options.maxBytes + OVERHEAD_BYTES,
      timeouts: { headersMs: waitMs + HEADERS_MS, bodyMs: BODY_MS, totalMs: waitMs + TOTAL_MS },
      isUrgent: true,
    });
  }

  /** The file in a `multipart/mixed` answer: its second part, or the target of its `Location`. */
  async #partsOf({ headers, body }: FederationStream, destination: string): Promise<RemoteFile | FederationFailure> {
    const boundary = boundaryOf(oneOf(headers['content-type']));
    const pieces = body[Symbol.asyncIterator]();
    if (boundary === undefined) {
      await pieces.return?.();
      return federationFailure('bad_answer', destination, `${destination} did not answer with multipart/mixed.`);
    }
    const parts = new FileParts(pieces, new MixedReader(boundary), destination, this.#options.maxBytes);
    try {
      const part = await parts.open();
      const location = part.get('location');
      if (location === undefined)
        return {
          ok: true,
          contentType: part.get('content-type'),
          filename: filenameIn(part.get('content-disposition')),
          content: parts.content(),
          discard: () => parts.close(),
        };
      await parts.close();
      return await this.#follow(location, destination);
    } catch (error) {
      await parts.close();
      if (error instanceof RemoteFileFault) return error.failure;
      throw error;
    }
  }

  /** "a `Location` header to redirect the caller to where the media can be retrieved". */
  async #follow(location: string, destination: string): Promise<RemoteFile | FederationFailure> {
    const response = await this.#options.outbound.stream({
      method: 'GET',
      url: location,
      maxBodyBytes: this.#options.maxBytes,
      maxRedirects: MAX_REDIRECTS,
      timeouts: { headersMs: HEADERS_MS, bodyMs: BODY_MS, totalMs: TOTAL_MS },
    });
    if (!response.ok)
      return federationFailure(
        response.kind === 'refused_address' ? 'denied' : response.kind === 'timeout' ? 'timeout' : 'unreachable',
        destination,
        `${destination} leads to where the file cannot be fetched: ${response.reason}.`,
      );
    if (response.status === 200) return this.#fileOf(response, destination);
    await response.body[Symbol.asyncIterator]().return?.();
    return federationFailure(
      'bad_answer',
      destination,
      `Where ${destination} leads, the answer is ${response.status}.`,
    );
  }

  /** A file that is the whole body. */
  #fileOf({ headers, body }: Pick<FederationStream, 'headers' | 'body'>, destination: string): RemoteFile {
    return {
      ok: true,
      contentType: oneOf(headers['content-type']),
      filename: filenameIn(oneOf(headers['content-disposition'])),
      content: bounded(body, destination, this.#options.maxBytes),
      discard: async () => {
        await body[Symbol.asyncIterator]().return?.();
      },
    };
  }
}

const oneOf = (header: string | readonly string[] | undefined): string | undefined =>
  typeof header === 'string' ? header : header?.[0];

/** Whether a server does not know an endpoint. Server-Server API, "Unsupported endpoints". */
const isUnrecognized = ({ kind, status, errcode }: FederationFailure): boolean =>
  kind === 'refused' &&
  (status === 400 || status === 404 || status === 405) &&
  (errcode === 'M_UNRECOGNIZED' || errcode === undefined || errcode === 'M_UNKNOWN');

const tooLarge = (destination: string, maxBytes: number): RemoteFileFault =>
  new RemoteFileFault(federationFailure('too_large', destination, `The file is larger than ${maxBytes} bytes.`));

const broken = (destination: string, why: string): RemoteFileFault =>
  new RemoteFileFault(federationFailure('bad_answer', destination, `The file did not come whole: ${why}.`));

/** The body up to the limit. */
async function* bounded(body: AsyncIterable<Buffer>, destination: string, maxBytes: number): AsyncGenerator<Buffer> {
  let size = 0;
  try {
    for await (const piece of body) {
      size += piece.length;
      if (size > maxBytes) throw tooLarge(destination, maxBytes);
      yield piece;
    }
  } catch (error) {
    throw error instanceof RemoteFileFault ? error : broken(destination, (error as Error).message);
  }
}

/** Reads the two parts of a response, as fast as they are consumed. */
class FileParts {
  readonly #pieces: AsyncIterator<Buffer>;
  readonly #reader: MixedReader;
  readonly #destination: string;
  readonly #maxBytes: number;
  /** The beginning of the file, which was read along with its headers. */
  readonly #ahead: Buffer[] = [];
  #isWhole = false;

  constructor(pieces: AsyncIterator<Buffer>, reader: MixedReader, destination: string, maxBytes: number) {
    this.#pieces = pieces;
    this.#reader = reader;
    this.#destination = destination;
    this.#maxBytes = maxBytes;
  }

  /** The headers of the second part. @throws RemoteFileFault */
  async open(): Promise<ReadonlyMap<string, string>> {
    let found: ReadonlyMap<string, string> | undefined;
    let parts = 0;
    let metadata = 0;
    while (found === undefined) {
      for (const token of await this.#next()) {
        if (token.kind === 'end of part' && parts === 2) this.#isWhole = true;
        if (token.kind === 'part') {
          parts += 1;
          if (parts === 2) found = token.headers;
        }
        if (token.kind === 'bytes' && parts === 2 && !this.#isWhole) this.#ahead.push(token.bytes);
        if (token.kind === 'bytes' && parts === 1 && (metadata += token.bytes.length) > MAX_METADATA_BYTES)
          throw broken(this.#destination, 'too much is told of it');
      }
    }
    return found;
  }

  /** The second part. @throws RemoteFileFault */
  async *content(): AsyncGenerator<Buffer> {
    let size = 0;
    for (const bytes of this.#ahead) {
      if ((size += bytes.length) > this.#maxBytes) throw tooLarge(this.#destination, this.#maxBytes);
      yield bytes;
    }
    while (!this.#isWhole) {
      for (const token of await this.#next()) {
        if (token.kind === 'end of part') this.#isWhole = true;
        if (token.kind !== 'bytes' || this.#isWhole) continue;
        if ((size += token.bytes.length) > this.#maxBytes) throw tooLarge(this.#destination, this.#maxBytes);
        yield token.bytes;
      }
    }
  }

  async close(): Promise<void> {
    await this.#pieces.return?.();
  }

  /** The next chunk of the body. @throws RemoteFileFault when there is none */
  async #next(): Promise<ReturnType<MixedReader['read']>> {
    try {
      const { done, value } = await this.#pieces.next();
      if (done !== true) return this.#reader.read(value);
      this.#reader.end();
      throw new MixedFault('the file is missing');
    } catch (error) {
      throw error instanceof RemoteFileFault ? error : broken(this.#destination, (error as Error).message);
    }
  }
}
