import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { type Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Deadline } from '#src/kernel/deadlines.ts';
import type { AnswerHead } from './answer-head.ts';
import { ClientGone } from '#src/kernel/event-loop/client-gone.ts';
import { type ResponseTimeout, SLOWEST_BYTES_PER_SECOND } from './outgoing.ts';
import type { Reply } from './reply.ts';

/** Memory that an answer needs while it streams: what was read of it, what waits to be written. */
export const STREAM_BYTES = 256 * 1024;
/** A client whose bytes since the last check were worth less time than this is too slow. */
const LEAST_MS = 1_000;

/** Bytes of this connection that the operating system has taken. */
const taken = ({ socket }: ServerResponse): number =>
  socket === null ? 0 : socket.bytesWritten - socket.writableLength;

/**
 * Cuts off a client that takes less than 16 KiB a second after the first `timeoutMs`. One for whom nothing waits has taken all there was: it
 * begins anew, since it is this server that is slow. @returns cancels it
 */
const watch = (res: ServerResponse, { deadlines, timeoutMs }: ResponseTimeout): (() => void) => {
  let from = taken(res);
  let grantedMs = timeoutMs;
  const check = (): void => {
    if (res.writableLength === 0) {
      from = taken(res);
      grantedMs = timeoutMs;
      deadline = deadlines.in(timeoutMs, check);
      return;
    }
    const earnedMs = timeoutMs + ((taken(res) - from) / SLOWEST_BYTES_PER_SECOND) * 1_000;
    const more = earnedMs - grantedMs;
    if (more < LEAST_MS) {
      res.destroy();
      return;
    }
    grantedMs = earnedMs;
    deadline = deadlines.in(more, check);
  };
  let deadline: Deadline = deadlines.in(timeoutMs, check);
  return () => deadline.cancel();
};

/**
 * Sends a stream as fast as the client takes it; a client that does not is cut off. Headers and status go out with the first bytes, so what fails
 * before them is answered like any other failure; what fails later breaks the connection off, which tells the client that something is missing.
 *
 * @param how.encoder makes what compresses it; called only where something is sent
 * @param how.count is told of the bytes of a stream of unknown length, before they are compressed
 * @throws what the stream fails with
 * @throws ClientGone
 */
export const sendStream = async (
  res: ServerResponse,
  head: AnswerHead,
  reply: Reply,
  stream: Readable,
  timeout: ResponseTimeout,
  {
    count,
    encoder,
  }: { readonly encoder?: (() => Transform) | undefined; readonly count?: (bytes: number) => void } = {},
): Promise<void> => {
  head.set('Content-Type', reply.contentType);
  if (reply.length !== undefined) head.set('Content-Length', String(reply.length));
  if (res.req.method === 'HEAD') {
    stream.destroy();
    res.writeHead(reply.status, head.list).end();
    return;
  }
  // Also at the end: for an empty stream it is the first event.
  if (stream.readableLength === 0 && !stream.readableEnded) await once(stream, 'readable');
  res.writeHead(reply.status, head.list);
  const unwatch = watch(res, timeout);
  try {
    // Where the length is known it was counted already.
    const counted = count === undefined || reply.length !== undefined ? [] : [counting(count)];
    await pipeline([stream, ...counted, ...(encoder === undefined ? [] : [encoder()]), res]);
  } catch (error) {
    throw (error as NodeJS.ErrnoException).code === 'ERR_STREAM_PREMATURE_CLOSE' ? new ClientGone() : error;
  } finally {
    unwatch();
  }
};

const counting = (count: (bytes: number) => void): Transform =>
  new Transform({
    transform(chunk: Buffer, _encoding, done) {
      count(chunk.byteLength);
      done(null, chunk);
    },
  });
