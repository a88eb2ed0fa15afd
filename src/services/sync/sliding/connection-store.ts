import type { Clock } from '#src/kernel/clock.ts';
import { LoopYield } from '#src/kernel/event-loop/loop-yield.ts';
import { writeAll } from '#src/kernel/concurrency/write-all.ts';
import type { Database } from '#src/storage/database.ts';
import { isUnavailable } from '#src/storage/failures.ts';
import {
  deleteOldConnections,
  findConnection,
  saveConnections,
  type SavedConnection,
} from '#src/storage/sync/sliding-connections.ts';
import { DAY_MS } from '#src/kernel/dates.ts';
import { connectionName } from './connections.ts';
import { Connection, type ConnectionState, type SentRoom, type KnownProfiles } from './connection.ts';

/** Most rooms of a saved connection. Larger ones start anew after a restart. */
export const MAX_ROOMS = 5_000;
/** Connections that are kept over a restart. */
export const MAX_CONNECTIONS = 5_000;
/** Lifetime of saved connections. */
const KEPT_MS = DAY_MS;

/** Bytes of memory of a connection that is kept over a restart, without its last answer, and characters of JSON that are written at once. */
export const MAX_BYTES = 8_388_608;
const CHARACTERS_AT_ONCE = 4_000_000;
/** Characters that are written in one turn of the event loop. */
const CHARACTERS_OF_TURN = 200_000;

/** A room as JSON: what is wanted of it by its place among the texts of the connection, or, as it was written before, the text. */
type StoredRoom = readonly [
  number,
  Omit<SentRoom, 'lazy' | 'count' | 'wanted'> & { readonly lazy: [string, number][]; readonly wanted: number | string },
];

/** What a client knows, as JSON. */
interface StoredState {
  readonly vector: readonly number[] | undefined;
  readonly counts: readonly (readonly [string, number])[];
  readonly rooms: readonly StoredRoom[];
  /** What is wanted of rooms. */
  readonly wanted?: readonly string[];
  readonly keys?: string | undefined;
  readonly profiles?: KnownProfiles | undefined;
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
    await deleteOldConnections(this.#database, this.#clock.now() - KEPT_MS);
    const loopYield = new LoopYield(CHARACTERS_OF_TURN);
    let rows: SavedConnection[] = [];
    let waiting = 0;
    let saved = 0;
    let characters = 0;
    let seen = 0;
    for (const { key, connection } of connections) {
      if (saved >= MAX_CONNECTIONS || characters >= maxCharacters) break;
      seen += 1;
      const content = textOf(connection);
      if (content === undefined) continue;
      saved += 1;
      characters += content.length;
      waiting += content.length;
      rows.push({ ...connectionName(key), content });
      const turn = loopYield.after(content.length);
      if (turn !== undefined) await turn;
      if (waiting < CHARACTERS_AT_ONCE) continue;
      await this.#write(rows);
      rows = [];
      waiting = 0;
    }
    if (rows.length > 0) await this.#write(rows);
    return seen;
  }

  /** One that cannot be written begins again; it keeps no other from being saved. */
  #write(rows: readonly SavedConnection[]): Promise<void> {
    const write = (some: readonly SavedConnection[]): Promise<void> =>
      saveConnections(this.#database, some, this.#clock.now());
    return writeAll(rows, write, isUnavailable, (_, error) => {
      if (isUnavailable(error)) throw error;
    });
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
const textOf = ({ run, kept, knownSize }: Connection): string | undefined => {
  const { number, state, change, next } = kept;
  if (change === undefined && state.vector === undefined) return undefined;
  if (state.rooms.size + (change?.rooms.size ?? 0) > MAX_ROOMS || knownSize > MAX_BYTES) return undefined;
  const stored: Stored = {
    run,
    number,
    state: storable(state),
    change: change === undefined ? undefined : storable(change),
    next,
  };
  return JSON.stringify(stored);
};

const storable = ({ vector, counts, keys, profiles, rooms }: ConnectionState): StoredState => {
  const places = new Map<string, number>();
  const placeOf = (wanted: string): number => {
    const place = places.get(wanted) ?? places.size;
    places.set(wanted, place);
    return place;
  };
  const stored = [...rooms].map(([nid, { count: _count, ...sent }]): StoredRoom => [
    nid,
    { ...sent, wanted: placeOf(sent.wanted), lazy: [...sent.lazy] },
  ]);
  return { vector, keys, profiles, counts: [...counts], rooms: stored, wanted: [...places.keys()] };
};

/** Resets ephemeral counts, which start anew in each process. */
const restored = ({ vector, counts, keys, profiles, rooms, wanted = [] }: StoredState): ConnectionState => ({
  vector,
  keys,
  profiles,
  count: 0,
  counts: new Map(counts),
  rooms: new Map(
    rooms.map(([nid, sent]) => [
      nid,
      {
        ...sent,
        wanted: typeof sent.wanted === 'string' ? sent.wanted : (wanted[sent.wanted] ?? '[]'),
        count: 0,
        lazy: new Map(sent.lazy),
      },
    ]),
  ),
});
