import type { Room } from '#src/services/room-model/room/room.ts';
import type { StateChain } from '#src/services/room-model/state/state-chain.ts';
import type { PastStates } from '../engine/past-states.ts';

/** A stretch of a room whose state a client knows at its beginning. */
export interface Stretch {
  readonly room: Room;
  /** Position up to which the client was told of everything. */
  readonly after: number;
  readonly upTo: number;
  /** The state at `upTo`. */
  readonly end: StateChain;
}

/** What the resolution of forks changed in a stretch, beside the events of the stretch themselves. */
export interface Resolved {
  /** Positions of state events from before the stretch that are the state again. */
  readonly restored: ReadonlySet<number>;
  /** Positions of state events that were removed, with no replacement. */
  readonly removed: ReadonlySet<number>;
}

export const NOTHING_RESOLVED: Resolved = { restored: new Set(), removed: new Set() };

/** Finds what state resolution changed beside the events themselves: older state may be restored, or state removed. */
export class ResolvedStates {
  readonly #states: Pick<PastStates, 'at'>;

  constructor(states: Pick<PastStates, 'at'>) {
    this.#states = states;
  }

  /** By stretch; two statements for all of them, none when no fork ended in those that are at hand. */
  async find<Key extends Stretch>(stretches: readonly Key[]): Promise<ReadonlyMap<Key, Resolved>> {
    const found = new Map<Key, Resolved>();
    const forked = stretches.filter(mayHaveForked);
    if (forked.length === 0) return found;
    const begins = await this.#states.at(forked.map(({ room, after }) => ({ room: room.nid, upTo: after })));
    for (const stretch of forked) {
      const begin = begins.get(stretch.room.nid);
      if (begin === undefined) continue;
      const restored = new Set<number>();
      const removed = new Set<number>();
      for (const { event, skey } of begin.changesTo(stretch.end)) {
        if (event === 0) removed.add(begin.get(skey) ?? 0);
        else if (event <= stretch.after) restored.add(event);
      }
      found.set(stretch, { restored, removed });
    }
    return found;
  }
}

/** Whether an event of a stretch changed more of the state than it says, or may have. */
const mayHaveForked = ({ after, room, upTo }: Stretch): boolean =>
  room.lastPosition > after &&
  room.ring.between(after, upTo)?.every(({ currentState }) => currentState === undefined) !== true;
