import type { IncomingMessage } from 'node:http';
import type { BytesHeld } from '#src/kernel/limits/bytes-in-flight.ts';
import type { Deadlines } from '#src/kernel/deadlines.ts';
import { limiterFields } from '#src/protocol/errors/limit-exceeded.ts';
import { freeBuffer } from '#src/kernel/limits/free-buffer.ts';
import { areTooManyPieces } from '#src/kernel/limits/pieces.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { ClientGone } from '#src/kernel/event-loop/client-gone.ts';
import { watchClient } from './watch-client.ts';

/** How many bytes of a body that is too large are read and thrown away, so that the client gets to reading the answer. */
const DISCARD_BYTES = 16 * 1024 * 1024;
const EMPTY = Buffer.alloc(0);
/** Initial size of the buffer for a body that comes in several pieces: small, since strangers begin many that they never end. */
const FIRST_BUFFER = 1024;
/** Smaller bodies are not counted: as many requests of this size as may run at once do no harm. */
const SMALL_BODY = 4 * 1024;
export const tooLarge = (limit: number): MatrixError =>
  new MatrixError('M_TOO_LARGE', `The body is larger than the ${limit} bytes that this endpoint takes.`);

export const tooSlow = (): MatrixError =>
  new MatrixError('M_UNKNOWN', 'The body of the request did not arrive in time.', {}, 408);

/** The budget of bytes in flight has no room for what a request needs. */
export const noRoom = (): MatrixError =>
  new MatrixError(
    'M_LIMIT_EXCEEDED',
    'This server has no memory left for more requests at the moment: try again shortly.',
    limiterFields('bytes_in_flight', 2_000),
    503,
  );

/** How a body is read. */
export interface BodyReading {
  /** Bytes that it may have. */
  readonly limit: number;
  /** Milliseconds in which all of it must have arrived. */
  readonly timeoutMs: number;
  readonly deadlines: Deadlines;
  /** Takes the memory that the body needs from the budget for bytes in flight. */
  readonly held: BytesHeld;
}

/**
 * Reads the body of a request into one buffer, which grows with what has arrived, not with what was declared.
 *
 * @throws MatrixError M_TOO_LARGE; M_UNKNOWN with status 408 when it arrives too slowly; M_LIMIT_EXCEEDED with status 503 when too many
 *   bytes are in flight
 * @throws ClientGone, also when it comes in more pieces than any client needs: then the connection is closed
 */
export const readBody = (request: IncomingMessage, reading: BodyReading): Promise<Buffer> => {
  const { limit, held } = reading;
  const length = request.headers['content-length'];
  if (length === '0' || (length === undefined && request.headers['transfer-encoding'] === undefined))
    return Promise.resolve(EMPTY);
  const declared = length === undefined ? Infinity : Number(length);
  if (length !== undefined && declared > DISCARD_BYTES + limit) return Promise.reject(tooLarge(limit));

  return new Promise((resolve, reject) => {
    let buffer: Buffer = EMPTY;
    let size = 0;
    let pieces = 0;
    let refusal: MatrixError | undefined;
    const settle = (): void => {
      deadline.cancel();
      request.off('data', onData).off('end', onEnd);
      stopWatching();
    };
    const fail = (error: Error): void => {
      settle();
      reject(error);
    };
    /** Throws the rest away as it comes: a client that is still sending does not read yet. */
    const refuse = (error: MatrixError): void => {
      refusal = error;
      freeBuffer(buffer);
      buffer = EMPTY;
      held.release();
    };
    const grow = (): boolean => {
      const capacity = Math.min(Math.max(size, 2 * buffer.length, FIRST_BUFFER), declared, limit);
      if (capacity > SMALL_BODY && !held.hold('body', capacity)) return false;
      const larger = Buffer.allocUnsafeSlow(capacity);
      buffer.copy(larger);
      freeBuffer(buffer);
      buffer = larger;
      return true;
    };
    const onData = (chunk: Buffer): void => {
      const before = size;
      size += chunk.length;
      pieces += 1;
      if (areTooManyPieces(pieces, size)) {
        // Nothing is answered: until the answer had left, the pieces that are here already would be looked at one by one.
        fail(new ClientGone(true));
        request.destroy();
        return;
      }
      if (size > limit + DISCARD_BYTES) fail(tooLarge(limit));
      else if (refusal !== undefined) freeBuffer(chunk);
      else if (size > limit) refuse(tooLarge(limit));
      else if (before === 0 && size === declared) {
        // Nearly always it comes in one piece, which is then used as it is.
        if (size > SMALL_BODY && !held.hold('body', size)) refuse(noRoom());
        else buffer = chunk;
      } else if (size <= buffer.length || grow()) {
        chunk.copy(buffer, before);
        freeBuffer(chunk);
      } else refuse(noRoom());
    };
    const onEnd = (): void => {
      settle();
      if (refusal === undefined) resolve(buffer.subarray(0, size));
      else reject(refusal);
    };
    const stopWatching = watchClient(request, fail);
    const deadline = reading.deadlines.in(reading.timeoutMs, () => fail(refusal ?? tooSlow()));
    request.on('data', onData).on('end', onEnd);
  });
};
