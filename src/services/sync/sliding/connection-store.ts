import type { Clock } from '#src/kernel/clock.ts';
import type { Database } from '#src/storage/database.ts';
import {
  deleteOldConnections,
  saveConnections,
  type SavedConnection,
  takeConnection,
} from '#src/storage/sync/sliding-connections.ts';
import { Connection, type ConnectionState, type SentRoom } from './connection.ts';

/** Rooms of a connection that is kept over a restart. Larger ones begin again. */
const MOST_ROOMS = 5_000;
/** Connections that are kept over a restart. */
const MOST_CONNECTIONS = 5_000;
/** How long a process that comes back finds them. */
const KEPT_MS = 86_400_000;

/** A connection as JSON. */
interface Stored {
  readonly run: string;
  readonly number: number;
  readonly vector: readonly number[];
  readonly counts: readonly (readonly [string, number])[];
  readonly rooms: readonly (readonly [number, Omit<SentRoom, 'lazy' | 'count'> & { readonly lazy: [string, number][] }])[];
}

/** Keeps what connections know while no process runs, so that a restart costs clients nothing. */
export class ConnectionStore {
  readonly #database: Database;
  readonly #clock: Clock;

  constructor(database: Database, clock: Clock) {
    this.#database = database;
    this.#clock = clock;
  }

  /** @param connections the most recently used first */
  async save(
    connections: readonly { readonly key: string; readonly connection: Connection<unknown> }[],
  ): Promise<void> {
    const rows: SavedConnection[] = [];
    for (const { key, connection } of connections.slice(0, MOST_CONNECTIONS)) {
      const content = textOf(connection);
      const [userId = '', deviceId = '', connId = ''] = JSON.parse(key) as string[];
      if (content !== undefined) rows.push({ userId, deviceId, connId, content });
    }
    await deleteOldConnections(this.#database, this.#clock.now() - KEPT_MS);
    if (rows.length > 0) await saveConnections(this.#database, rows, this.#clock.now());
  }

  /** The connection as it was kept, once. */
  async restore<Body>(key: string): Promise<Connection<Body> | undefined> {
    const [userId = '', deviceId = '', connId = ''] = JSON.parse(key) as string[];
    const content = await takeConnection(this.#database, userId, deviceId, connId);
    if (content === undefined) return undefined;
    const { run, number, vector, counts, rooms } = JSON.parse(content) as Stored;
    const state: ConnectionState = {
      vector,
      // What was counted in memory begins anew with each process.
      count: 0,
      counts: new Map(counts),
      rooms: new Map(rooms.map(([nid, sent]) => [nid, { ...sent, count: 0, lazy: new Map(sent.lazy) }])),
    };
    return new Connection<Body>(run, { number, state });
  }
}

/** The connection as it is when the client has the last answer; undefined when it knows nothing, or too much. */
const textOf = (connection: Connection<unknown>): string | undefined => {
  const { number, state } = connection.newest;
  if (state.vector === undefined || state.rooms.size > MOST_ROOMS) return undefined;
  const stored: Stored = {
    run: connection.run,
    number,
    vector: state.vector,
    counts: [...state.counts],
    rooms: [...state.rooms].map(([nid, { count: _count, ...sent }]) => [nid, { ...sent, lazy: [...sent.lazy] }]),
  };
  return JSON.stringify(stored);
};
