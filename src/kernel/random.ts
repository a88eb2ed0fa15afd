import { randomBytes } from 'node:crypto';

/** Chance as a port. */
export interface Random {
  /** Cryptographically strong bytes. */
  bytes(count: number): Buffer;
  /** A string of `length` characters out of `alphabet`, every character equally likely. `alphabet` has at most 256 characters. */
  string(length: number, alphabet?: string): string;
}

const ALPHANUMERIC = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';

/** The operating system's randomness. */
export const systemRandom: Random = {
  bytes: (count) => randomBytes(count),
  string(length, alphabet = ALPHANUMERIC) {
    // Bytes at or above the largest multiple of the alphabet's size are thrown away: a plain modulo would favour its first characters.
    const limit = 256 - (256 % alphabet.length);
    let result = '';
    while (result.length < length) {
      for (const byte of randomBytes(length - result.length + 8)) {
        if (byte < limit && result.length < length) result += alphabet[byte % alphabet.length];
      }
    }
    return result;
  },
};
