import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Context } from 'koa';
import { ClientGone } from './body.ts';
import type { Reply } from './reply.ts';

/**
 * Sends a stream as fast as the client takes it. Headers and status go out with its first bytes, so what fails before them is answered like
 * any other failure; what fails later breaks the connection off, which tells the client that something is missing.
 *
 * @throws what the stream fails with
 * @throws ClientGone
 */
export const sendStream = async (ctx: Context, reply: Reply, stream: Readable): Promise<void> => {
  const { res } = ctx;
  ctx.set('Content-Type', reply.contentType);
  if (reply.length !== undefined) ctx.set('Content-Length', String(reply.length));
  if (ctx.method === 'HEAD') {
    stream.destroy();
    ctx.respond = false;
    res.end();
    return;
  }
  // Also at its end: an empty stream says so this way.
  if (stream.readableLength === 0 && !stream.readableEnded) await once(stream, 'readable');
  ctx.respond = false;
  try {
    await pipeline(stream, res);
  } catch (error) {
    throw (error as NodeJS.ErrnoException).code === 'ERR_STREAM_PREMATURE_CLOSE' ? new ClientGone() : error;
  }
};
