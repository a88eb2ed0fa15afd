/** Smaller pieces of memory are left to the garbage collector: they are not worth the call, and share a pool. */
const WORTH_IT = 4 * 1024;

/**
 * Gives the memory of a buffer back that nobody reads any more, in this turn and not with a garbage collection: what arrives in pieces of 64 KiB
 * would otherwise stay in the C library's heap by the hundred megabytes, and that heap does not shrink again. The buffer is empty afterwards.
 */
export const freeBuffer = (bytes: Buffer): void => {
  const memory = bytes.buffer;
  const isItsOwn = memory instanceof ArrayBuffer && memory.byteLength === bytes.byteLength;
  if (isItsOwn && bytes.byteLength >= WORTH_IT) memory.transfer(0);
};
