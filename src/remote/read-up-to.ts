import { freeBuffer } from '#src/kernel/limits/free-buffer.ts';
import { areTooManyPieces } from '#src/kernel/limits/pieces.ts';
import type { Dispatcher } from 'undici';

/** Initial size of the buffer for a body that comes in several pieces. */
const FIRST_BUFFER = 16 * 1024;
const EMPTY = Buffer.alloc(0);

/** A body came in more pieces than any server needs. */
export class TooManyPiecesError extends Error {
  constructor() {
    super('the answer came in too many pieces');
    this.name = 'TooManyPiecesError';
  }
}

/** There was no memory for a body. */
export class NoRoomError extends Error {
  constructor() {
    super('there was no memory for the answer');
    this.name = 'NoRoomError';
  }
}

/**
 * The body, or its first `most` bytes as soon as it is longer: in one buffer, which grows with what has arrived.
 *
 * @param grow asked for the memory of a buffer of so many bytes, which replaces the one before; resolves to whether it is there
 * @throws TooManyPiecesError, NoRoomError; what breaks the body off
 */
export const readUpTo = async (
  body: Dispatcher.ResponseData['body'],
  most: number,
  grow?: (capacity: number) => Promise<boolean> | boolean,
): Promise<{ readonly bytes: Buffer; readonly isCut: boolean }> => {
  let buffer: Buffer = EMPTY;
  let size = 0;
  let pieces = 0;
  // It was broken off by us.
  body.on('error', () => undefined);
  for await (const chunk of body as AsyncIterable<Buffer>) {
    const before = size;
    size += chunk.length;
    pieces += 1;
    if (areTooManyPieces(pieces, size)) throw new TooManyPiecesError();
    if (before === 0 && size <= most) {
      // Most answers come in one piece, which is then used as it is.
      if (grow !== undefined && !(await grow(size))) throw new NoRoomError();
      buffer = chunk;
      continue;
    }
    if (size > buffer.length) {
      const capacity = Math.min(Math.max(size, 2 * buffer.length, FIRST_BUFFER), most);
      if (capacity > buffer.length) {
        if (grow !== undefined && !(await grow(capacity))) throw new NoRoomError();
        const larger = Buffer.allocUnsafeSlow(capacity);
        buffer.copy(larger, 0, 0, before);
        freeBuffer(buffer);
        buffer = larger;
      }
    }
    chunk.copy(buffer, before, 0, Math.max(most - before, 0));
    freeBuffer(chunk);
    if (size > most) return { bytes: buffer.subarray(0, most), isCut: true };
  }
  return { bytes: buffer.subarray(0, size), isCut: false };
};
