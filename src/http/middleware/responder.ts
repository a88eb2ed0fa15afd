import type { Context } from 'koa';
import type { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { Reply } from './reply.ts';
import { chooseEncoding, compress } from './compression.ts';
import { sendStream } from './stream-reply.ts';

const COMPRESSIBLE = /^(application\/(json|openapi\+json|xml)|text\/)/;

/** Writes answers. */
export class Responder {
  readonly #compressFrom: number;

  /** @param compressFrom bytes from which on a body is compressed */
  constructor(compressFrom: number) {
    this.#compressFrom = compressFrom;
  }

  async send(ctx: Context, reply: Reply): Promise<void> {
    const content = reply.content ?? (reply.body === undefined ? emptyFor(reply.status) : JSON.stringify(reply.body));
    ctx.status = reply.status;
    // Answers are about this moment and mostly about this user; who may be remembered says so itself.
    ctx.set('Cache-Control', 'no-store');
    ctx.set('X-Content-Type-Options', 'nosniff');
    for (const [name, value] of Object.entries(reply.headers)) ctx.set(name, value);
    if (reply.stream !== undefined) {
      await sendStream(ctx, reply, reply.stream);
      return;
    }
    if (content === undefined) {
      ctx.body = null;
      ctx.status = reply.status;
      return;
    }
    ctx.set('Content-Type', reply.contentType);
    const long = content.length >= this.#compressFrom;
    if (!long || !COMPRESSIBLE.test(reply.contentType)) {
      ctx.body = content;
      return;
    }
    ctx.vary('Accept-Encoding');
    const encoding = chooseEncoding(ctx.req.headers['accept-encoding']);
    if (encoding === undefined || ctx.method === 'HEAD') {
      ctx.body = content;
      return;
    }
    ctx.body = await compress(content, encoding);
    ctx.set('Content-Encoding', encoding);
  }

  /** Client-Server API, "Standard error response". */
  async sendError(ctx: Context, error: MatrixError): Promise<void> {
    const headers: Record<string, string> = {};
    const wait = error.fields['retry_after_ms'];
    if (typeof wait === 'number') headers['Retry-After'] = String(Math.ceil(wait / 1000));
    // A body that was not read to its end would be taken for the next request.
    if (!ctx.req.complete && (error.status === 413 || error.status === 408)) headers['Connection'] = 'close';
    await this.send(ctx, new Reply({ status: error.status, body: error.toBody(), headers }));
  }
}

/** JSON endpoints that have nothing to say answer an empty object; redirects and statuses without a body answer nothing. */
const emptyFor = (status: number): string | undefined =>
  status === 204 || (status >= 300 && status < 400) ? undefined : '{}';
