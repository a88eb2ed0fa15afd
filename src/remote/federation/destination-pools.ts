import { CountedCache } from '#src/kernel/caches/counted-cache.ts';
import { OnceByKey } from '#src/kernel/caches/once.ts';
import type { Socket } from 'node:net';
import { type Dispatcher, Pool } from 'undici';
import { GuardedConnector, handOver, type GuardedConnectorOptions } from '../guarded-connector.ts';
import { type DestinationPlace, textOfPlace } from './destination-place.ts';

export interface DestinationPoolsOptions extends GuardedConnectorOptions {
  /** To one place at the same time; further requests wait. */
  readonly connections: number;
}

/** The connections to a place. */
interface Connected {
  readonly pool: Pool;
  /** The first of them, until a request takes it. */
  first: Socket | undefined;
}

/** Places to which connections are open: those that were not used for longest are closed first. */
const MAX_POOLS = 2_000;
const KEEP_ALIVE_MS = 30_000;

/**
 * Connections to other servers, by place and certificate name. Nothing is kept for places without an open connection. Imported with
 * the first request.
 */
export class DestinationPools {
  readonly #connections: number;
  readonly #connector: GuardedConnector;
  readonly #connecting = new OnceByKey<string, void>();
  readonly #connected = new CountedCache<string, Connected>('destination_pools', {
    maxSize: MAX_POOLS,
    sizeCalculation: () => 1,
    dispose: ({ first, pool }) => {
      first?.destroy();
      void pool.close().catch(() => undefined);
    },
  });

  constructor({ connections, ...connector }: DestinationPoolsOptions) {
    this.#connections = connections;
    this.#connector = new GuardedConnector(connector);
  }

  /** Places to which connections are open. */
  get size(): number {
    return this.#connected.size;
  }

  /** Opens a connection, unless one is open. @param acceptMs until it is accepted @throws errors of the guard, the resolver and the network, and for being late */
  async connect(place: DestinationPlace, acceptMs?: number): Promise<void> {
    const key = keyOf(place);
    if (this.#connected.get(key) !== undefined) return;
    await this.#connecting.run(key, async () => {
      const { host: hostname, port, tlsName } = place;
      const socket = await this.#connector.connect({ hostname, port, tlsName, acceptMs });
      this.#keep(key, place, socket);
    });
  }

  /** Makes one request; redirects are answers. @throws errors of undici, of the guard and of the resolver */
  async request(
    place: DestinationPlace,
    request: Omit<Dispatcher.RequestOptions, 'origin' | 'headers'> & {
      readonly headers: Readonly<Record<string, string>>;
    },
  ): Promise<Dispatcher.ResponseData> {
    const key = keyOf(place);
    // It may have been closed since it was opened.
    if (this.#connected.peek(key) === undefined) await this.connect(place);
    const connected = this.#connected.get(key);
    if (connected === undefined) throw new Error(`the connection to ${textOfPlace(place)} was closed`);
    return connected.pool.request({ ...request, headers: { ...request.headers, host: place.hostHeader } });
  }

  /** Closes all connections, whatever is under way. */
  async destroy(): Promise<void> {
    this.#connector.close();
    const pools = [...this.#connected.values()];
    for (const { first } of pools) first?.destroy();
    await Promise.all(pools.map(({ pool }) => pool.destroy()));
  }

  #keep(key: string, place: DestinationPlace, socket: Socket): void {
    const { host: hostname, port, tlsName } = place;
    const target = { hostname, port, tlsName };
    const pool = new Pool(`https://${textOfPlace(place)}`, {
      // The connection goes to the place; the name on its certificate may be another one.
      connect: (_, callback) => {
        const { first } = connected;
        connected.first = undefined;
        first?.setTimeout(0);
        const taken = first === undefined || first.destroyed ? this.#connector.connect(target) : Promise.resolve(first);
        void handOver(taken, callback);
      },
      connections: this.#connections,
      pipelining: 1,
      keepAliveTimeout: KEEP_ALIVE_MS,
      keepAliveMaxTimeout: KEEP_ALIVE_MS,
    });
    const connected: Connected = { pool, first: socket };
    const look = (): void => {
      const { connected: open, pending, queued, running } = pool.stats;
      const isInUse = open + pending + queued + running > 0 || connected.first !== undefined;
      if (!isInUse && this.#connected.peek(key) === connected) this.#connected.delete(key);
    };
    // undici still counts the request that it is about to fail, or to make at another place.
    pool.on('disconnect', () => setImmediate(look));
    pool.on('connectionError', () => setImmediate(look));
    // No request has taken it.
    socket.setTimeout(KEEP_ALIVE_MS, () => {
      if (connected.first === socket) socket.destroy();
    });
    socket.once('close', () => {
      if (connected.first !== socket) return;
      connected.first = undefined;
      look();
    });
    this.#connected.set(key, connected);
  }
}

const keyOf = (place: DestinationPlace): string => `${textOfPlace(place)} ${place.tlsName ?? ''}`;
