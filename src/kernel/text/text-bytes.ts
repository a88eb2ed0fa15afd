/**
 * Bytes of memory that a text takes: one for each character, and two for each as soon as one of them is not of Latin-1. What is not of ASCII
 * counts as two here, since that is quick to see.
 */
export const bytesOfText = (text: string): number =>
  Buffer.byteLength(text) === text.length ? text.length : 2 * text.length;
