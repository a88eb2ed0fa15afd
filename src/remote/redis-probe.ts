const TIMEOUT_MS = 5_000;

/** What a Redis or Valkey says of itself. */
export interface RedisState {
  readonly version: string;
  /** What it does when its memory is full; undefined where it does not say. */
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
  // What goes wrong is told by the promises.
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
