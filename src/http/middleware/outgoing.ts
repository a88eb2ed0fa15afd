import type { ServerResponse } from 'node:http';
import type { BytesHeld } from '#src/kernel/limits/bytes-in-flight.ts';
import type { Deadlines } from '#src/kernel/deadlines.ts';
import { partEnd } from './text-stream.ts';

/** Answers up to this size are written at once, and counted only if the client does not take them at once. */
export const SMALL_ANSWER = 8 * 1024;
/** Larger answers are written in pieces of this size, each when the one before has left: characters of a text, bytes of a buffer. */
const PIECE = 128 * 1024;
/** Clients that read more slowly than this are cut off. */
export const SLOWEST_BYTES_PER_SECOND = 16 * 1024;

/** How long a client may take to read a response. */
export interface ResponseTimeout {
  readonly deadlines: Deadlines;
  /** Milliseconds in which an answer must have been read; a long one has a second more for every 16 KiB. */
  readonly timeoutMs: number;
}

/** Where the piece that begins at `from` ends. */
const pieceEnd = (content: string | Buffer, from: number): number =>
  typeof content === 'string' ? partEnd(content, from, PIECE) : Math.min(from + PIECE, content.length);

const writePieces = (response: ServerResponse, content: string | Buffer): void => {
  let at = 0;
  const next = (): void => {
    if (response.destroyed) return;
    const from = at;
    at = pieceEnd(content, from);
    const piece = typeof content === 'string' ? content.slice(from, at) : content.subarray(from, at);
    if (at === content.length) response.end(piece);
    // One piece in each turn of the event loop, even for a client that takes them as fast as they come.
    else if (response.write(piece)) setImmediate(next);
    else response.once('drain', () => setImmediate(next));
  };
  next();
};

/**
 * Writes the body of an answer whose head is set. Its bytes are counted until the client has taken them; a client that does not is cut off.
 *
 * @param held has reserved room for the bytes already, unless they are few
 */
export const writeBody = (
  response: ServerResponse,
  content: string | Buffer,
  held: BytesHeld,
  { deadlines, timeoutMs }: ResponseTimeout,
): void => {
  if (response.destroyed) {
    held.release();
    return;
  }
  if (content.length > PIECE) writePieces(response, content);
  else response.end(content);
  // What the operating system has taken is not counted. A pipelined request waits for the answers before its own to leave.
  if (response.writableFinished) {
    held.release();
    return;
  }
  const { socket } = response.req;
  const waiting = Math.max(held.bytes, Math.min(content.length, PIECE));
  if (!held.hold('answer', waiting)) {
    socket.destroy();
    held.release();
    return;
  }
  const deadline = deadlines.in(timeoutMs + (waiting / SLOWEST_BYTES_PER_SECOND) * 1_000, () => socket.destroy());
  response.once('close', () => {
    deadline.cancel();
    held.release();
  });
};
