import type { IncomingMessage } from 'node:http';
import { type Readable, Transform } from 'node:stream';
import { type BodyReading, noRoom, tooLarge, tooSlow } from './body.ts';
import type { Work } from '#src/kernel/event-loop/work.ts';
import { watchClient } from './watch-client.ts';
import { SLOWEST_BYTES_PER_SECOND } from './outgoing.ts';

/** A client whose bytes since the last check were worth less time than this is too slow. */
const LEAST_MS = 1_000;
/** Memory that a body needs while it streams: what the connection has read, what waits here, what is being written. */
export const HELD_BYTES = 256 * 1024;

/**
 * The body of a request as it arrives. It fails with M_TOO_LARGE past `limit` bytes, with 408 when less than 16 KiB a second come after the
 * first `timeoutMs`, and with ClientGone when the client goes away; destroying it throws the rest of the body away, so that the
 * client gets to reading the answer.
 *
 * @param work counts what is received
 * @throws MatrixError M_TOO_LARGE by the Content-Length of the request; M_LIMIT_EXCEEDED with status 503 when too many bytes are in flight;
 *   ClientGone when the client went away while the request waited for its turn
 */
export const bodyStream = (
  request: IncomingMessage,
  { limit, timeoutMs, deadlines, held }: BodyReading,
  work?: Work,
): Readable => {
  if (Number(request.headers['content-length'] ?? 0) > limit) throw tooLarge(limit);
  let size = 0;
  const stream = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      size += chunk.length;
      if (work !== undefined) work.bytesStreamed = size;
      if (size > limit) done(tooLarge(limit));
      else done(null, chunk);
    },
  });
  const stopWatching = watchClient(request, (error) => stream.destroy(error));
  if (!held.hold('body', HELD_BYTES)) {
    stopWatching();
    throw noRoom();
  }
  let grantedMs = timeoutMs;
  const check = (): void => {
    const earnedMs = timeoutMs + (size / SLOWEST_BYTES_PER_SECOND) * 1_000;
    const more = earnedMs - grantedMs;
    if (more < LEAST_MS) {
      stream.destroy(tooSlow());
      return;
    }
    grantedMs = earnedMs;
    deadline = deadlines.in(more, check);
  };
  let deadline = deadlines.in(timeoutMs, check);
  request.once('end', () => {
    deadline.cancel();
    stopWatching();
  });
  // It may fail before it has a listener, which learns of it when it begins to read.
  stream.on('error', () => {});
  stream.once('close', () => {
    deadline.cancel();
    held.release();
    stopWatching();
    request.unpipe(stream).resume();
  });
  return request.pipe(stream);
};
