import { Readable } from 'node:stream';
import type { MediaDelivery } from '#src/services/media/media-delivery.ts';
import type { AvailableMedia, MediaService } from '#src/services/media/media-service.ts';
import type { ServedContent, ThumbnailService, ThumbnailParams } from '#src/services/media/thumbnail-service.ts';
import type { Random } from '#src/kernel/random.ts';

export interface MediaAnswersOptions {
  readonly media: MediaService;
  readonly thumbnails: ThumbnailService;
  readonly mediaDelivery: MediaDelivery;
  readonly random: Random;
  readonly serverName: string;
}

/** What another server asks for. */
export interface MediaRequest {
  readonly mediaId: string;
  /** The server that asks. */
  readonly origin: string;
  readonly timeoutMs: number | undefined;
  readonly isHead: boolean;
  readonly signal: AbortSignal;
}

/** A `multipart/mixed` body. */
export interface MixedAnswer {
  readonly contentType: string;
  readonly stream: Readable;
  /** Bytes. */
  readonly length: number;
}

const BOUNDARY_LENGTH = 32;

/** Serves this server's media to other servers. Server-Server API, "Content Repository". */
export class MediaAnswers {
  readonly #options: MediaAnswersOptions;

  constructor(options: MediaAnswersOptions) {
    this.#options = options;
  }

  /** @throws MatrixError M_NOT_FOUND, M_NOT_YET_UPLOADED; M_UNKNOWN (503) */
  async download(request: MediaRequest): Promise<MixedAnswer> {
    const media = await this.#find(request);
    return this.#mixed(media, media.filename ?? undefined, request);
  }

  /** @throws MatrixError as `download`; M_INVALID_PARAM, M_UNKNOWN for what is no image, M_TOO_LARGE, M_LIMIT_EXCEEDED */
  async thumbnail(request: MediaRequest, params: ThumbnailParams): Promise<MixedAnswer> {
    const made = await this.#options.thumbnails.thumbnail(await this.#find(request), params, request.origin);
    return this.#mixed(made, 'thumbnail', request);
  }

  #find({ mediaId, origin, signal, timeoutMs }: MediaRequest): Promise<AvailableMedia> {
    const { media, serverName } = this.#options;
    // Only what was uploaded here: every server hands out its own.
    return media.get({ serverName, mediaId, party: origin, timeoutMs, allowRemote: false, signal });
  }

  async #mixed(served: ServedContent, filename: string | undefined, { isHead }: MediaRequest): Promise<MixedAnswer> {
    const { mediaDelivery, random } = this.#options;
    const conditions = { range: undefined, ifRange: undefined, ifNoneMatch: undefined, isHead, mayRedirect: true };
    const { content, contentType, headers, length } = await mediaDelivery.deliver(served, filename, conditions);
    const boundary = random.string(BOUNDARY_LENGTH);
    const { Location: location, 'Content-Disposition': disposition = 'attachment' } = headers;
    const part =
      location === undefined
        ? `Content-Type: ${contentType}\r\nContent-Disposition: ${disposition}`
        : `Location: ${location}`;
    // "The first part … describes the media's metadata, if any. Currently, this will always be an empty object."
    const head = Buffer.from(
      `--${boundary}\r\nContent-Type: application/json\r\n\r\n{}\r\n--${boundary}\r\n${part}\r\n\r\n`,
      'latin1',
    );
    const tail = Buffer.from(`\r\n--${boundary}--\r\n`, 'latin1');
    const stream = Readable.from(inOrder(head, content, tail), { objectMode: false });
    // Also when nobody began to read it.
    stream.once('close', () => content?.destroy());
    return {
      contentType: `multipart/mixed; boundary=${boundary}`,
      stream,
      length: head.length + length + tail.length,
    };
  }
}

async function* inOrder(head: Buffer, content: Readable | undefined, tail: Buffer): AsyncGenerator<Buffer> {
  yield head;
  if (content !== undefined) for await (const bytes of content) yield bytes as Buffer;
  yield tail;
}
