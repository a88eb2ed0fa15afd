import { systemClock } from '#src/kernel/clock.ts';
import { systemRandom } from '#src/kernel/random.ts';
import { DataDirectoryLock } from '#src/storage/data-directory-lock.ts';
import type { Config } from './config/config.ts';
import { rotateSigningKey as rotate } from './ground/keys.ts';

/**
 * Gives a server that is not running a new signing key.
 *
 * @returns a sentence about what was done
 * @throws when the server runs, or its key cannot be read
 */
export async function rotateSigningKey(config: Config): Promise<string> {
  const lock = await DataDirectoryLock.take(config.dataDir);
  try {
    const { keyId } = await rotate(config.signingKeyFile, systemRandom, systemClock.now());
    return `The server will sign with ${keyId}. The keys of before are kept in ${config.signingKeyFile}.retired, for what they have signed.`;
  } finally {
    await lock.release();
  }
}
