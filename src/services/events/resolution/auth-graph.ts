import { LoopYield } from '#src/kernel/event-loop/loop-yield.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { Database } from '#src/storage/database.ts';
import { authEdges, authEdgesOf } from '#src/storage/room-model/auth-edges.ts';

/** Auth events of events, by position. */
export type AuthEdges = ReadonlyMap<number, readonly number[]>;

/** Edges that are followed in one turn of the event loop: about two milliseconds. */
const STEPS_AT_ONCE = 20_000;

const NOTHING: ReadonlySet<number> = new Set();

interface Graph {
  readonly edges: Map<number, readonly number[]>;
  upTo: number;
}

/**
 * The graph of the auth events of a room's state events, in memory once a room has had a conflict. What is stored
 * later under an earlier position (backfilled, or restored from an archive) is read when it is reached.
 */
export class AuthGraphs {
  readonly #database: Database;
  readonly #graphs = new WeakMap<Room, Graph>();

  constructor(database: Database) {
    this.#database = database;
  }

  /**
   * The auth chains of stored events. Chains may have any length: other work has its turn in between.
   *
   * @param except an auth chain whose events are left out
   * @returns the graph, in which all of these chains are, and every event that they reach, themselves included
   */
  async chains(
    room: Room,
    from: Iterable<number>,
    except: ReadonlySet<number> = NOTHING,
  ): Promise<{ readonly edges: AuthEdges; readonly events: Set<number> }> {
    const { edges } = await this.#upToNow(room);
    const loopYield = new LoopYield(STEPS_AT_ONCE);
    const events = new Set<number>();
    for (const nid of from) if (!except.has(nid)) events.add(nid);
    // A set is walked in the order of insertion, what is added on the way included.
    let unknown: number[] = [];
    const follow = async (walked: Set<number>): Promise<void> => {
      unknown = [];
      for (const nid of walked) {
        events.add(nid);
        const auth = edges.get(nid);
        if (auth === undefined) unknown.push(nid);
        else for (const one of auth) if (!events.has(one) && !except.has(one)) walked.add(one);
        const waiting = loopYield.after(1 + (auth?.length ?? 0));
        if (waiting !== undefined) await waiting;
      }
    };
    await follow(events);
    while (unknown.length > 0) {
      const rows = await authEdgesOf(this.#database, room.nid, unknown);
      const next = new Set<number>();
      for (const { nid, auth } of rows) {
        edges.set(nid, auth);
        for (const one of auth) if (!events.has(one) && !except.has(one)) next.add(one);
      }
      // What is not there was purged, and names nothing as long as it is away.
      await follow(next);
    }
    return { edges, events };
  }

  async #upToNow(room: Room): Promise<Graph> {
    const graph = this.#graphs.get(room) ?? { edges: new Map(), upTo: Number.MIN_SAFE_INTEGER };
    this.#graphs.set(room, graph);
    if (graph.upTo < room.lastPosition) {
      const upTo = room.lastPosition;
      for (const { nid, auth } of await authEdges(this.#database, room.nid, graph.upTo)) graph.edges.set(nid, auth);
      graph.upTo = Math.max(graph.upTo, upTo);
    }
    return graph;
  }
}
