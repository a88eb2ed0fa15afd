import type { IncomingMessage } from 'node:http';
import { type Readable, Transform } from 'node:stream';
import { ClientGone, tooLarge } from './body.ts';

/**
 * The body of a request as it arrives. It fails with M_TOO_LARGE past `limit` bytes, and with ClientGone when the client goes away; whoever
 * destroys it has the rest of the body thrown away, so that the client gets to reading the answer.
 *
 * @throws MatrixError M_TOO_LARGE where the request says so itself
 */
export const bodyStream = (request: IncomingMessage, limit: number): Readable => {
  if (Number(request.headers['content-length'] ?? 0) > limit) throw tooLarge(limit);
  let size = 0;
  const stream = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      size += chunk.length;
      if (size > limit) done(tooLarge(limit));
      else done(null, chunk);
    },
  });
  const onGone = (): void => void stream.destroy(new ClientGone());
  request.on('error', onGone).on('close', onGone);
  request.once('end', () => request.off('close', onGone));
  stream.once('close', () => {
    // Without a listener for 'error' a connection that is reset now would bring the process down.
    request.off('close', onGone).unpipe(stream).resume();
  });
  return request.pipe(stream);
};
