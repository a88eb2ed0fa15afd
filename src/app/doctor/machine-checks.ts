import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Check, bad, type Finding, note, ok } from '#src/cli/finding.ts';
import { parseRetiredKeys, parseSigningKeys } from '#src/protocol/signing/signing-key.ts';
import { probeRedis } from '#src/remote/redis-probe.ts';
import type { Config } from '../config/config.ts';

/** The bits of a mode that let others than the owner read or write. */
const OPEN = 0o077;

const isMissing = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === 'ENOENT';

/** Checks files that must exist and be private: keys and the data directory. */
export async function machineChecks(config: Config): Promise<Check[]> {
  return [
    { what: 'signing key', ...(await signingKey(config.signingKeyFile)) },
    { what: 'file permissions', ...(await permissions(config)) },
    { what: 'redis', ...(await redis(config.redis.url)) },
  ];
}

async function signingKey(path: string): Promise<Finding> {
  try {
    const [key] = parseSigningKeys(await readFile(path, 'utf8'));
    const retired = await readFile(`${path}.retired`, 'utf8').then(
      (text) => parseRetiredKeys(text).length,
      (error: unknown) => {
        if (isMissing(error)) return 0;
        throw error;
      },
    );
    return ok(
      `signs as ed25519:${key.version}${retired === 0 ? '' : `, after ${retired} other keys`}; keep ${path} with the backups`,
    );
  } catch (error) {
    if (isMissing(error))
      return note(
        `${path} is not there, and is made at the first start. Where this server has run before, put it back from a backup`,
      );
    return bad(`${path} cannot be used: ${(error as Error).message}. Put it back from a backup`);
  }
}

async function permissions({ dataDir, signingKeyFile, tls }: Config): Promise<Finding> {
  const secrets = [signingKeyFile, join(dataDir, 'session.key'), ...(tls.keyFile === null ? [] : [tls.keyFile])];
  const open: string[] = [];
  const look = async (path: string, bits: number): Promise<void> => {
    const found = await stat(path).catch(() => undefined);
    if (found !== undefined && (found.mode & bits) !== 0) open.push(path);
  };
  await look(dataDir, OPEN & 0o066);
  for (const path of secrets) await look(path, OPEN);
  return open.length === 0
    ? ok('keys and the data directory are for the server’s user alone')
    : bad(`other users of this machine can read ${open.join(', ')}: chmod go= ${open.join(' ')}`);
}

const OLDEST_REDIS = 7;

async function redis(url: string | null): Promise<Finding> {
  if (url === null) return note('not configured: this is the only node, and jobs lie in PostgreSQL');
  try {
    const { maxmemoryPolicy: policy, version } = await probeRedis(url);
    if (Number(version.split('.')[0]) < OLDEST_REDIS) return bad(`Redis ${version} is too old: 7 or later is needed`);
    return policy !== undefined && policy !== 'noeviction'
      ? bad(`Redis ${version} answers, and drops jobs when it is full: set maxmemory-policy to noeviction`)
      : ok(`Redis ${version} answers`);
  } catch (error) {
    return bad(`Redis cannot be used: ${(error as Error).message}. Look whether it runs, and at redis.url`);
  }
}
