import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { getCACertificates } from 'node:tls';
import type { Random } from '#src/kernel/random.ts';
import type { RetiredKey, SigningKey } from '#src/protocol/signing/signing-key.ts';
import { openSessionKey, type SessionKey } from '#src/services/accounts/sessions/session-key.ts';
import type { Config } from '../config/config.ts';
import { openRetiredKeys, openSigningKeys } from './keys.ts';

/** Files that the server reads before it is composed. */
export interface ServerFiles {
  /** Of this software. */
  readonly version: string;
  /** The first one signs. */
  readonly signingKeys: readonly [SigningKey, ...SigningKey[]];
  /** The keys with which the server signed once. */
  readonly retiredKeys: readonly RetiredKey[];
  readonly sessionKey: SessionKey;
  /** PEM; undefined: only the system's. */
  readonly certificateAuthorities: readonly string[] | undefined;
}

/** Reads them, and generates keys that do not exist. @throws when a file cannot be read or is invalid */
export async function openServerFiles(config: Config, random: Random): Promise<ServerFiles> {
  const { version } = JSON.parse(await readFile(new URL('../../../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  return {
    version,
    signingKeys: await openSigningKeys(config.signingKeyFile, random),
    retiredKeys: await openRetiredKeys(config.signingKeyFile),
    sessionKey: await openSessionKey(join(config.dataDir, 'session.key')),
    certificateAuthorities: await certificateAuthorities(config.federation.trustedCaFiles),
  };
}

/** The system's and those of files; undefined for only the system's. @throws when a file cannot be read */
export async function certificateAuthorities(paths: readonly string[]): Promise<readonly string[] | undefined> {
  if (paths.length === 0) return undefined;
  const extra = await Promise.all(
    paths.map((path) =>
      readFile(path, 'utf8').catch((error: unknown) => {
        throw new Error(`${path} of federation.trusted_ca_files cannot be read`, { cause: error });
      }),
    ),
  );
  return [...getCACertificates('default'), ...extra];
}
