import { readFile } from 'node:fs/promises';
import type { Random } from '#src/kernel/random.ts';
import {
  formatSigningKey,
  generateSigningKey,
  parseSigningKeys,
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
