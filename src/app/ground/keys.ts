import { readFile, rename } from 'node:fs/promises';
import type { Random } from '#src/kernel/random.ts';
import {
  formatRetiredKey,
  formatSigningKey,
  generateSigningKey,
  parseRetiredKeys,
  parseSigningKeys,
  type RetiredKey,
  type SigningKey,
} from '#src/protocol/signing/signing-key.ts';
import { writePrivateFile } from '#src/storage/private-files.ts';

/**
 * Reads the server's keys, or makes one with mode 0600: one line, `ed25519 a_xxxx <unpadded base64>`. The first line of a file with
 * several is the one that signs.
 *
 * @throws if the file is there but holds no key
 */
export async function openSigningKeys(path: string, random: Random): Promise<readonly [SigningKey, ...SigningKey[]]> {
  let text: string | undefined;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  if (text !== undefined) {
    try {
      return parseSigningKeys(text);
    } catch (error) {
      throw new Error(`signing_key_file ${path} holds no usable key: ${(error as Error).message}`, { cause: error });
    }
  }
  const key = generateSigningKey((count) => random.bytes(count));
  await writePrivateFile(path, `${formatSigningKey(key)}\n`, 'wx');
  return [key];
}

/** The file of the keys with which the server signed once, beside the file of its current keys. */
const retiredKeysFile = (path: string): string => `${path}.retired`;

/** The keys with which the server signed once. @throws if the file is there and cannot be read */
export async function openRetiredKeys(path: string): Promise<readonly RetiredKey[]> {
  const file = retiredKeysFile(path);
  try {
    return parseRetiredKeys(await readFile(file, 'utf8'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw new Error(`${file} cannot be used: ${(error as Error).message}`, { cause: error });
  }
}

/**
 * Replaces the keys with which the server signs by a new one. What they signed can still be verified.
 *
 * @param now milliseconds since the epoch
 * @returns the new key
 * @throws if the file is there but holds no key
 */
export async function rotateSigningKey(path: string, random: Random, now: number): Promise<SigningKey> {
  const keys = await openSigningKeys(path, random);
  const retired = await openRetiredKeys(path);
  const key = generateSigningKey((count) => random.bytes(count));
  const retiring = keys.map(({ keyId, publicKey }) => ({ keyId, publicKey, expiredAt: now }));
  // In this order: whenever it is interrupted, each key is in at least one of the files.
  await replace(retiredKeysFile(path), [...retiring, ...retired].map(formatRetiredKey));
  await replace(path, [formatSigningKey(key)]);
  return key;
}

const replace = async (path: string, lines: readonly string[]): Promise<void> => {
  await writePrivateFile(`${path}.new`, lines.map((line) => `${line}\n`).join(''));
  await rename(`${path}.new`, path);
};
