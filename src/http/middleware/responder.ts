import type { ServerResponse } from 'node:http';
import { ClientGone } from '#src/kernel/event-loop/client-gone.ts';
import type { BytesHeld } from '#src/kernel/limits/bytes-in-flight.ts';
import type { Work } from '#src/kernel/event-loop/work.ts';
import type { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { AnswerHead } from './answer-head.ts';
import { Reply } from './reply.ts';
import { endsConnection } from '#src/services/accounts/admission/admission.ts';
import { noRoom } from './body.ts';
import { chooseEncoding, compress, COMPRESSOR_BYTES, compressor } from './compression.ts';
import { type ResponseTimeout, SMALL_ANSWER, writeBody } from './outgoing.ts';
import { sendStream, STREAM_BYTES } from './stream-reply.ts';

const COMPRESSIBLE = /^(application\/(json|openapi\+json|xml)|text\/)/;

/** Writes answers, bypassing Koa: their bytes are counted until they are read. */
export class Responder {
  readonly #compressFrom: number;
  readonly #timeout: ResponseTimeout;

  /** @param compressFrom bytes from which on a body is compressed */
  constructor(compressFrom: number, timeout: ResponseTimeout) {
    this.#compressFrom = compressFrom;
    this.#timeout = timeout;
  }

  /**
   * @param given the headers so far; more are added
   * @param work is told of the bytes of the body, before it is compressed: whether they are sent or refused, they were made
   * @throws MatrixError M_LIMIT_EXCEEDED with status 503 when too many bytes are in flight: nothing was sent then
   * @throws ClientGone
   */
  async send(res: ServerResponse, given: AnswerHead, reply: Reply, held: BytesHeld, work?: Work): Promise<void> {
    if (res.destroyed) {
      // There is no one to answer.
      reply.stream?.destroy();
      throw new ClientGone();
    }
    let content = reply.content ?? (reply.body === undefined ? emptyFor(reply.status) : JSON.stringify(reply.body));
    const size = content === undefined || reply.stream !== undefined ? 0 : Buffer.byteLength(content);
    // A stream of unknown length is JSON that is too long for one text.
    const isLongJson = reply.stream !== undefined && reply.length === undefined && COMPRESSIBLE.test(reply.contentType);
    let streamEncoding = isLongJson ? chooseEncoding(res.req.headers['accept-encoding']) : undefined;
    const isHead = res.req.method === 'HEAD';
    const streamed = reply.streamMemory + Math.min(reply.length ?? STREAM_BYTES, STREAM_BYTES);
    const needed = reply.stream === undefined ? size : streamed;
    // Where there is no room for what compresses it, it goes as it is.
    if (streamEncoding !== undefined && !isHead && !held.hold('answer', streamed + COMPRESSOR_BYTES))
      streamEncoding = undefined;
    const more = streamEncoding === undefined || isHead ? 0 : COMPRESSOR_BYTES;
    if (work !== undefined) work.bytesOut = reply.stream === undefined ? size : (reply.length ?? 0);
    // The body of the request is not needed any more.
    if (!held.hold('answer', needed > SMALL_ANSWER ? needed + more : 0)) {
      reply.stream?.destroy();
      throw noRoom();
    }
    // A stream that fails before its first byte is answered with an error, which has headers of its own.
    const head = reply.stream === undefined ? given : given.copy();
    for (const name in reply.headers) head.set(name, reply.headers[name] ?? '');
    if (isHead && reply.length !== undefined && reply.stream === undefined) {
      head.set('Content-Type', reply.contentType);
      head.set('Content-Length', String(reply.length));
      res.writeHead(reply.status, head.list).end();
      return;
    }
    if (reply.stream !== undefined) {
      if (isLongJson) head.set('Vary', 'Accept-Encoding');
      if (streamEncoding !== undefined) head.set('Content-Encoding', streamEncoding);
      const encoder = streamEncoding === undefined ? undefined : () => compressor(streamEncoding);
      const count = (bytes: number): void => void (work !== undefined && (work.bytesOut += bytes));
      try {
        await sendStream(res, head, reply, reply.stream, this.#timeout, { encoder, count });
      } finally {
        held.release();
      }
      return;
    }
    if (content === undefined) {
      res.writeHead(reply.status, head.list).end();
      return;
    }
    head.set('Content-Type', reply.contentType);
    let length = size;
    if (size >= this.#compressFrom && COMPRESSIBLE.test(reply.contentType)) {
      head.set('Vary', 'Accept-Encoding');
      const encoding = chooseEncoding(res.req.headers['accept-encoding']);
      if (encoding !== undefined && !isHead) {
        content = await compress(content, encoding);
        length = content.length;
        head.set('Content-Encoding', encoding);
        held.hold('answer', length);
      }
    }
    head.set('Content-Length', String(length));
    if (isHead) {
      res.writeHead(reply.status, head.list).end();
      held.release();
      return;
    }
    // There is no one to answer when the client went away meanwhile.
    if (!res.destroyed) res.writeHead(reply.status, head.list);
    writeBody(res, content, held, this.#timeout);
  }

  /** Client-Server API, "Standard error response". */
  async sendError(res: ServerResponse, head: AnswerHead, error: MatrixError, held: BytesHeld): Promise<void> {
    const headers: Record<string, string> = {};
    const wait = error.fields['retry_after_ms'];
    if (typeof wait === 'number') headers['Retry-After'] = String(Math.ceil(wait / 1000));
    // A body that was not read to its end would be taken for the next request.
    const { req } = res;
    const isUnread = !req.complete && (error.status === 413 || req.readableDidRead);
    if (isUnread || endsConnection(error)) headers['Connection'] = 'close';
    held.release();
    await this.send(res, head, new Reply({ status: error.status, body: error.toBody(), headers }), held);
  }
}

/** JSON endpoints that have nothing to say answer an empty object; redirects and statuses without a body answer nothing. */
const emptyFor = (status: number): string | undefined =>
  status === 204 || (status >= 300 && status < 400) ? undefined : '{}';
