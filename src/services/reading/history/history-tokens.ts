import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { decodeRoomToken, decodeSyncToken, type TopologicalPosition } from '#src/protocol/wire/position.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { Database } from '#src/storage/database.ts';
import { newestEvents } from '#src/storage/room-model/event-reads.ts';
import type { Room } from '#src/services/room-model/room/room.ts';

/** After everything in a room. */
export const LATEST: TopologicalPosition = { topo: Number.MAX_SAFE_INTEGER, nid: Number.MAX_SAFE_INTEGER };
/** Before everything in a room. */
export const EARLIEST: TopologicalPosition = { topo: 0, nid: -Number.MAX_SAFE_INTEGER };

/** A place in a room's history. */
export interface HistoryPlace {
  readonly place: TopologicalPosition;
  /** Only what has a position up to here was there for the token's holder; Infinity for tokens of the history itself. */
  readonly upTo: number;
}

/** Reads the tokens of `/messages` and of `/sync` alike as places in one room's history. */
export class HistoryTokens {
  readonly #database: Database;
  readonly #loader: EventLoader;

  constructor(database: Database, loader: EventLoader) {
    this.#database = database;
    this.#loader = loader;
  }

  /** @throws MatrixError M_INVALID_PARAM for what is no token of this server */
  async read(room: Room, token: string, dir: 'b' | 'f'): Promise<HistoryPlace> {
    const named = decodeRoomToken(token);
    if (named !== undefined) {
      const { nid, topo, within } = named;
      return { place: { topo, nid }, upTo: dir === 'b' ? (within ?? Infinity) : Infinity };
    }
    const sync = decodeSyncToken(token);
    if (sync === undefined) throw new MatrixError('M_INVALID_PARAM', 'The pagination token is not one of this server.');
    const position = sync.vector[room.shard] ?? 0;
    // Sync is in the order of arrival: backwards, everything that had arrived is before the token, wherever it stands in the DAG.
    if (dir === 'b') return { place: LATEST, upTo: position };
    return { place: await this.endOf(room, position), upTo: Infinity };
  }

  /** The place after the event that had arrived last at a position. */
  async endOf(room: Room, position: number): Promise<TopologicalPosition> {
    const newest = room.ring.newestUpTo(position, 1)?.at(-1);
    if (newest !== undefined) return { topo: newest.topo, nid: newest.nid + 1 };
    const [record] = await newestEvents(this.#database, [{ room: room.nid, after: 0, upTo: position }], 1);
    if (record === undefined) return EARLIEST;
    await this.#loader.adopt([record], () => room);
    return { topo: record.topo, nid: record.nid + 1 };
  }
}
