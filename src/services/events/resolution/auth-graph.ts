import type { Room } from '#src/services/room-model/room/room.ts';
import type { Database } from '#src/storage/database.ts';
import { authEdges } from '#src/storage/room-model/event-reads.ts';

/** Which state events of a room name which as their auth events: the whole graph, in memory once a room has had a conflict. */
export class AuthGraphs {
  readonly #database: Database;
  readonly #graphs = new WeakMap<Room, { readonly edges: Map<number, readonly number[]>; upTo: number }>();

  constructor(database: Database) {
    this.#database = database;
  }

  /** The graph up to the room's newest committed event: event -> its auth events, by position. */
  async of(room: Room): Promise<ReadonlyMap<number, readonly number[]>> {
    const graph = this.#graphs.get(room) ?? { edges: new Map(), upTo: Number.MIN_SAFE_INTEGER };
    this.#graphs.set(room, graph);
    if (graph.upTo < room.lastPosition) {
      const upTo = room.lastPosition;
      for (const { nid, auth } of await authEdges(this.#database, room.nid, graph.upTo)) graph.edges.set(nid, auth);
      graph.upTo = Math.max(graph.upTo, upTo);
    }
    return graph.edges;
  }
}
