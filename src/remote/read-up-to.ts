import { freeBuffer } from '#src/kernel/free-buffer.ts';
import type { Dispatcher } from 'undici';

/** The body, or its first `most` bytes as soon as it is longer. */
export const readUpTo = async (
  body: Dispatcher.ResponseData['body'],
  most: number,
): Promise<{ readonly bytes: Buffer; readonly isCut: boolean }> => {
  const chunks: Buffer[] = [];
  let size = 0;
  // It was broken off by us.
  body.on('error', () => undefined);
  for await (const chunk of body as AsyncIterable<Buffer>) {
    size += chunk.length;
    chunks.push(chunk);
    if (size > most) return { bytes: joined(chunks).subarray(0, most), isCut: true };
  }
  return { bytes: joined(chunks), isCut: false };
};

const joined = (chunks: readonly Buffer[]): Buffer => {
  const bytes = Buffer.concat(chunks);
  for (const chunk of chunks) freeBuffer(chunk);
  return bytes;
};
