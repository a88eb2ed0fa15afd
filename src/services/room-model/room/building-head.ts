import { stateMapKey } from '#src/protocol/state/state-map.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { StateChain, StateChange } from '#src/services/room-model/state/state-chain.ts';

/**
 * Forward extremities that a room keeps at most. An event that would be one more does not count for the room's state until an event that is built
 * on it replaces another one: if one were dropped for it, a server that makes enough forks of the room's past could undo everything that
 * came after.
 */
export const MAX_EXTREMITIES = 20;

/** What new events are built on: the newest events, committed or on their way, and the state after them. */
export interface RoomHead {
  readonly extremities: readonly StoredEvent[];
  readonly chain: StateChain;
}

/** The head of a room, which moves on with what is built and not committed yet. */
export class BuildingHead {
  #now: RoomHead;
  #depth: number;
  /** Its state events that are not committed yet. */
  readonly #pending = new Map<string, StoredEvent>();
  #generation = 0;

  constructor(now: RoomHead, depth: number) {
    this.#now = now;
    this.#depth = depth;
  }

  get now(): RoomHead {
    return this.#now;
  }
  get depth(): number {
    return this.#depth;
  }
  /** Changes whenever the head was dropped: what was built on it before is stale. */
  get generation(): number {
    return this.#generation;
  }
  /** A state event on its way, by `stateMapKey`. */
  pending(key: string): StoredEvent | undefined {
    return this.#pending.get(key);
  }

  /** All of them, by the same. */
  get allPending(): ReadonlyMap<string, StoredEvent> {
    return this.#pending;
  }

  /** Moves on by an event that is about to be queued for writing. */
  advance(event: StoredEvent, change: StateChange | undefined): void {
    this.#now = {
      extremities: [event],
      chain: change === undefined ? this.#now.chain : this.#now.chain.append(event.nid, [change]),
    };
    this.#depth = event.topo;
    if (event.stateKey !== undefined) this.#pending.set(stateMapKey(event.type, event.stateKey), event);
  }

  /** Remembers the head as it is now; what comes back restores it, as long as nothing was queued in between. */
  save(): () => void {
    const now = this.#now;
    const depth = this.#depth;
    const pending = new Map(this.#pending);
    return () => {
      this.#now = now;
      this.#depth = depth;
      this.#pending.clear();
      for (const [key, event] of pending) this.#pending.set(key, event);
    };
  }

  /** Goes back to what is committed. Everything that was built on the head since then becomes stale. */
  dropTo(now: RoomHead, depth: number): void {
    this.#generation++;
    this.#pending.clear();
    this.moveTo(now, depth);
  }

  /** Moves to where events leave it that were not built on it. */
  moveTo(now: RoomHead, depth: number): void {
    this.#now = now;
    this.#depth = depth;
  }

  /** Says that a state event was committed. */
  committed(key: string, event: StoredEvent): void {
    if (this.#pending.get(key) === event) this.#pending.delete(key);
  }
}
