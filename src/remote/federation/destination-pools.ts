import { CountedCache } from '#src/kernel/counted-cache.ts';
import { type buildConnector, type Dispatcher, Pool } from 'undici';
import { guardedConnector, type GuardedConnectorOptions } from '../guarded-connector.ts';
import { type DestinationPlace, textOfPlace } from './destination-place.ts';

export interface DestinationPoolsOptions extends GuardedConnectorOptions {
  /** To one place at the same time; further requests wait. */
  readonly connections: number;
}

/** Places whose connections are kept in mind: those that nobody has used for longest go first. */
const MOST_POOLS = 2_000;
const KEEP_ALIVE_MS = 30_000;

/** Connections to other servers, for each place and the name that it proves. Imported with the first request. */
export class DestinationPools {
  readonly #connections: number;
  readonly #connect: buildConnector.connector;
  readonly #pools = new CountedCache<string, Pool>('destination_pools', {
    maxSize: MOST_POOLS,
    sizeCalculation: () => 1,
    dispose: (pool) => void pool.close().catch(() => undefined),
  });

  constructor({ connections, ...connector }: DestinationPoolsOptions) {
    this.#connections = connections;
    this.#connect = guardedConnector(connector);
  }

  /** Makes one request; redirects are answers. @throws errors of undici, of the guard and of the resolver */
  request(
    place: DestinationPlace,
    request: Omit<Dispatcher.RequestOptions, 'origin' | 'headers'> & {
      readonly headers: Readonly<Record<string, string>>;
    },
  ): Promise<Dispatcher.ResponseData> {
    const headers = { ...request.headers, host: place.hostHeader };
    return this.#poolOf(place).request({ ...request, headers });
  }

  /** Closes all connections, whatever is under way. */
  async destroy(): Promise<void> {
    const pools = [...this.#pools.values()];
    await Promise.all(pools.map((pool) => pool.destroy()));
  }

  #poolOf(place: DestinationPlace): Pool {
    const key = `${textOfPlace(place)} ${place.tlsName ?? ''}`;
    const known = this.#pools.get(key);
    if (known !== undefined) return known;
    const pool = new Pool(`https://${textOfPlace(place)}`, {
      // What is connected to is the place; whose certificate is wanted there is another matter.
      connect: (wish, callback) => {
        const { tlsName } = place;
        const name = tlsName === undefined ? {} : { servername: tlsName };
        this.#connect(
          { ...wish, hostname: place.host, host: textOfPlace(place), port: String(place.port), ...name },
          callback,
        );
      },
      connections: this.#connections,
      pipelining: 1,
      keepAliveTimeout: KEEP_ALIVE_MS,
      keepAliveMaxTimeout: KEEP_ALIVE_MS,
    });
    this.#pools.set(key, pool);
    return pool;
  }
}
