import { connect, type Socket } from 'node:net';
import type { Readable } from 'node:stream';
import type { Timers } from '#src/kernel/timers.ts';

/** The verdict of a scanner on a stream. */
export type Scan =
  | { readonly kind: 'clean' }
  /** With the scanner's name for what it found. */
  | { readonly kind: 'infected'; readonly name: string }
  /** It gave no verdict, or not in time. */
  | { readonly kind: 'unknown'; readonly reason: string };

export interface ClamdOptions {
  /** `host:port`, or the path of a Unix socket. The operator configures it, so that it may be at any address. */
  readonly address: string;
  readonly timers: Timers;
  /** Milliseconds for one stream. */
  readonly timeoutMs: number;
}

const CHUNK = 64 * 1024;
const MAX_ANSWER_LENGTH = 4_096;
const END = Buffer.alloc(4);

/** Asks a clamd whether a stream is malicious, by its command INSTREAM. */
export class Clamd {
  readonly #options: ClamdOptions;

  constructor(options: ClamdOptions) {
    this.#options = options;
  }

  /** Never rejects. */
  async scan(content: Readable): Promise<Scan> {
    const { address, timeoutMs, timers } = this.#options;
    const socket = connect(placeOf(address));
    const answered = answerOf(socket);
    const late = Promise.withResolvers<Scan>();
    const timer = timers.after(timeoutMs, () => late.resolve(unknown('it takes too long')));
    try {
      const verdict = answered.then(scanIn, (error: unknown) => unknown(reasonOf(error)));
      const sent = send(socket, content).then(
        () => verdict,
        // The write may have failed because the scanner has given its verdict and stopped reading.
        (error: unknown) => (error instanceof ContentError ? unknown('the content cannot be read') : verdict),
      );
      return await Promise.race([sent, verdict, late.promise]);
    } finally {
      timer.cancel();
      socket.destroy();
      content.destroy();
    }
  }
}

/** The content could not be read to its end. */
class ContentError extends Error {}

const placeOf = (address: string): { readonly path: string } | { readonly host: string; readonly port: number } => {
  if (address.startsWith('/')) return { path: address };
  const at = address.lastIndexOf(':');
  return { host: address.slice(0, at).replace(/^\[|\]$/g, ''), port: Number(address.slice(at + 1)) };
};

const answerOf = (socket: Socket): Promise<string> =>
  new Promise((resolve, reject) => {
    let text = '';
    socket.setEncoding('utf8');
    socket.on('data', (chunk) => {
      text = (text + String(chunk)).slice(0, MAX_ANSWER_LENGTH);
      if (text.includes('\0')) resolve(text);
    });
    socket.on('end', () => resolve(text));
    socket.on('error', reject);
    socket.on('close', () => resolve(text));
  });

const write = (socket: Socket, bytes: Buffer): Promise<void> =>
  new Promise((resolve, reject) => {
    socket.write(bytes, (error) => {
      if (error === undefined || error === null) resolve();
      else reject(error);
    });
  });

async function send(socket: Socket, content: Readable): Promise<void> {
  await write(socket, Buffer.from('zINSTREAM\0'));
  try {
    for await (const chunk of content) {
      const bytes = chunk as Buffer;
      for (let from = 0; from < bytes.byteLength; from += CHUNK) {
        const piece = bytes.subarray(from, from + CHUNK);
        const head = Buffer.alloc(4);
        head.writeUInt32BE(piece.byteLength);
        await write(socket, head);
        await write(socket, piece);
      }
    }
  } catch (error) {
    throw socket.destroyed || socket.errored !== null ? error : new ContentError('unreadable', { cause: error });
  }
  await write(socket, END);
}

const scanIn = (answer: string): Scan => {
  const text = answer.split('\0', 1)[0]?.trim() ?? '';
  if (/^stream: OK$/.test(text)) return { kind: 'clean' };
  const found = /^stream: (.+) FOUND$/.exec(text)?.[1];
  if (found !== undefined) return { kind: 'infected', name: found };
  return unknown(text === '' ? 'it broke off' : `it says ${text.slice(0, 200)}`);
};

const unknown = (reason: string): Scan => ({ kind: 'unknown', reason });

const reasonOf = (error: unknown): string => {
  const code: unknown = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? `it cannot be reached (${code})` : 'it cannot be reached';
};
