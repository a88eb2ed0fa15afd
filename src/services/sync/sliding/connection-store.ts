import type { Clock } from '#src/kernel/clock.ts';
import { writeAll } from '#src/kernel/write-all.ts';
import type { Database } from '#src/storage/database.ts';
import { isUnavailable } from '#src/storage/failures.ts';
import {
  deleteOldConnections,
  findConnection,
  saveConnections,
  type SavedConnection,
} from '#src/storage/sync/sliding-connections.ts';
import { connectionName } from './connections.ts';
import { Connection, type ConnectionState, type SentRoom, type ToldProfiles } from './connection.ts';

/** Rooms of a connection that is kept over a restart. Larger ones begin again. */
const MAX_ROOMS = 5_000;
/** Connections that are kept over a restart. */
const MAX_CONNECTIONS = 5_000;
/** How long a process that comes back finds them. */
const KEPT_MS = 86_400_000;

/** A room as JSON. */
type StoredRoom = readonly [number, Omit<SentRoom, 'lazy' | 'count'> & { readonly lazy: [string, number][] }];

/** What a client knows, as JSON. */
interface StoredState {
  readonly vector: readonly number[] | undefined;
  readonly counts: readonly (readonly [string, number])[];
  readonly rooms: readonly StoredRoom[];
  readonly keys?: string | undefined;
  readonly profiles?: ToldProfiles | undefined;
}

/** A connection as JSON. */
interface Stored {
  readonly run: string;
  readonly number: number;
  readonly state: StoredState;
  readonly change: StoredState | undefined;
  readonly next?: number | undefined;
}

/** A connection by its name. */
export interface NamedConnection {
  readonly key: string;
  readonly connection: Connection;
}

/** Stores connections over a restart, so that clients continue where they were. */
export class ConnectionStore {
  readonly #database: Database;
  readonly #clock: Clock;

  constructor(database: Database, clock: Clock) {
    this.#database = database;
    this.#clock = clock;
  }

  /**
   * Saves connections, as many as fit, and deletes those that were not used again.
   *
   * @param connections the most important first
   * @param maxCharacters of JSON
   * @returns how many of them were looked at
   */
  async save(connections: Iterable<NamedConnection>, maxCharacters = Infinity): Promise<number> {
    const rows: SavedConnection[] = [];
    let characters = 0;
    let seen = 0;
    for (const { key, connection } of connections) {
      if (rows.length >= MAX_CONNECTIONS || characters >= maxCharacters) break;
      seen += 1;
      const content = textOf(connection);
      if (content === undefined) continue;
      characters += content.length;
      rows.push({ ...connectionName(key), content });
    }
    await deleteOldConnections(this.#database, this.#clock.now() - KEPT_MS);
    // One that cannot be written begins again; it keeps no other from being saved.
    const write = (some: readonly SavedConnection[]): Promise<void> =>
      saveConnections(this.#database, some, this.#clock.now());
    if (rows.length > 0)
      await writeAll(rows, write, isUnavailable, (_, error) => {
        if (isUnavailable(error)) throw error;
      });
    return seen;
  }

  /** The connection as it was saved last: the numbers of its positions say whether the client has come further since. */
  async restore(key: string): Promise<Connection | undefined> {
    const { userId, deviceId, connId } = connectionName(key);
    const content = await findConnection(this.#database, userId, deviceId, connId);
    if (content === undefined) return undefined;
    const { run, number, state, change, next } = JSON.parse(content) as Stored;
    return new Connection(run, {
      number,
      state: restored(state),
      change: change?.vector === undefined ? undefined : { ...restored(change), vector: change.vector },
      next: change === undefined ? undefined : (next ?? number + 1),
    });
  }
}

/** The connection as JSON text; undefined when the client knows nothing, or too much. */
const textOf = ({ run, kept }: Connection): string | undefined => {
  const { number, state, change, next } = kept;
  if (change === undefined && state.vector === undefined) return undefined;
  if (state.rooms.size + (change?.rooms.size ?? 0) > MAX_ROOMS) return undefined;
  const stored: Stored = {
    run,
    number,
    state: storable(state),
    change: change === undefined ? undefined : storable(change),
    next,
  };
  return JSON.stringify(stored);
};

const storable = ({ vector, counts, keys, profiles, rooms }: ConnectionState): StoredState => ({
  vector,
  keys,
  profiles,
  counts: [...counts],
  rooms: [...rooms].map(([nid, { count: _count, ...sent }]) => [nid, { ...sent, lazy: [...sent.lazy] }]),
});

/** What was counted in memory begins anew with each process. */
const restored = ({ vector, counts, keys, profiles, rooms }: StoredState): ConnectionState => ({
  vector,
  keys,
  profiles,
  count: 0,
  counts: new Map(counts),
  rooms: new Map(rooms.map(([nid, sent]) => [nid, { ...sent, count: 0, lazy: new Map(sent.lazy) }])),
});
