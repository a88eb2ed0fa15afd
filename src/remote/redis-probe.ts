const TIMEOUT_MS = 5_000;

/** The state of a Redis or Valkey. */
export interface RedisState {
  readonly version: string;
  /** Its `maxmemory-policy`; undefined where it does not tell. */
  readonly maxmemoryPolicy: string | undefined;
}

/** Asks a Redis for its state, on a connection of its own. @throws when it cannot be reached or refuses us */
export const probeRedis = async (url: string): Promise<RedisState> => {
  const { Redis } = await import('ioredis');
  const client = new Redis(url, {
    lazyConnect: true,
    connectTimeout: TIMEOUT_MS,
    commandTimeout: TIMEOUT_MS,
    retryStrategy: () => null,
    maxRetriesPerRequest: 0,
  });
  // Errors reject the promises below.
  client.on('error', () => undefined);
  try {
    await client.connect();
    const info = await client.info();
    return {
      version: /^(?:valkey|redis)_version:(\S+)/m.exec(info)?.[1] ?? 'of an unknown version',
      maxmemoryPolicy: /^maxmemory_policy:(\S+)/m.exec(info)?.[1],
    };
  } finally {
    client.disconnect();
  }
};
