import type { IdentifiedPdu } from '#src/protocol/events/pdu.ts';
import { resolveState } from '#src/protocol/state/resolve-state.ts';
import { type StateMap, stateMapKey } from '#src/protocol/state/state-map.ts';
import type { EventLoader } from '#src/services/events/event-loader.ts';
import type { StoredEvent } from '#src/services/events/stored-event.ts';
import type { Room } from '#src/services/rooms/room.ts';
import type { Interner } from '#src/storage/repositories/interner.ts';
import type { AuthGraphs } from './auth-graph.ts';
import type { StateChain, StateChange } from './state-chain.ts';

const REJECTED = 2;

export interface StateMergerOptions {
  readonly interner: Interner;
  readonly loader: EventLoader;
  readonly graphs: AuthGraphs;
}

/** A stored event as the rules look at it. */
export const identified = (event: StoredEvent): IdentifiedPdu => ({
  eventId: event.eventId,
  pdu: event.pdu,
  rejected: (event.flags & REJECTED) !== 0,
});

/** The entries of a state: state key -> state event, both as integers. */
export type StateEntries = ReadonlyMap<number, number>;

/** An event that is not stored yet, under a position that no event has. */
export interface FreshEvent {
  readonly nid: number;
  readonly event: IdentifiedPdu;
  readonly auth: readonly number[];
}

/** Resolves the states of several branches of a room's history into one. Room versions, "State resolution". */
export class StateMerger {
  readonly #options: StateMergerOptions;

  constructor(options: StateMergerOptions) {
    this.#options = options;
  }

  /** The state that these resolve to. Reads the room's auth graph and the events that the algorithm asks for, in batches. */
  async resolve(room: Room, states: readonly StateEntries[], fresh?: FreshEvent): Promise<StateEntries> {
    const [only, ...others] = states;
    if (only === undefined) return new Map();
    if (others.every((state) => isSame(state, only))) return only;
    const { interner } = this.#options;
    await interner.ensureNames({ stateKeys: states.flatMap((state) => [...state.keys()]) });
    const keyOf = (skey: number): string => {
      const { type, stateKey } = interner.stateKeyNames(skey);
      return stateMapKey(type, stateKey);
    };
    const named = states.map((state): StateMap<number> => new Map([...state].map(([skey, nid]) => [keyOf(skey), nid])));
    const resolved = await this.#run(room, named, fresh);
    return new Map(
      [...resolved].map(([key, nid]) => {
        const cut = key.indexOf('\0');
        return [interner.stateKey(key.slice(0, cut), key.slice(cut + 1)), nid];
      }),
    );
  }

  /** The changes that lead from one state to another. */
  async changes(from: StateEntries, to: StateEntries): Promise<readonly StateChange[]> {
    const { interner } = this.#options;
    const changed: { readonly skey: number; readonly event: number }[] = [];
    for (const [skey, event] of to) if (from.get(skey) !== event) changed.push({ skey, event });
    for (const skey of from.keys()) if (!to.has(skey)) changed.push({ skey, event: 0 });
    await interner.ensureNames({ stateKeys: changed.map((change) => change.skey) });
    return changed.map(({ skey, event }) => ({
      skey,
      event,
      isMember: interner.stateKeyNames(skey).type === 'm.room.member',
    }));
  }

  /** Runs the algorithm until everything that it asks for has been read: it asks without waiting. */
  async #run(room: Room, states: readonly StateMap<number>[], fresh: FreshEvent | undefined): Promise<StateMap<number>> {
    const { graphs, loader } = this.#options;
    const stored = await graphs.of(room);
    const edges = (nid: number): readonly number[] => (nid === fresh?.nid ? fresh.auth : (stored.get(nid) ?? []));
    const loaded = new Map<number, IdentifiedPdu>();
    if (fresh !== undefined) loaded.set(fresh.nid, fresh.event);
    const create = states.map((state) => state.get(stateMapKey('m.room.create', ''))).find((nid) => nid !== undefined);
    if (create === undefined) throw new Error(`a state of ${room.roomId} has no m.room.create`);
    let wanted: ReadonlySet<number> = closure(conflicted(states), edges);
    for (;;) {
      const places = [...wanted].filter((nid) => nid !== fresh?.nid).map((nid) => ({ room, nid }));
      for (const [nid, event] of await loader.load(places)) loaded.set(nid, identified(event));
      const missing = new Set<number>();
      const result = resolveState(room.version, states, {
        create,
        event: (nid) => {
          const event = loaded.get(nid);
          if (event === undefined) missing.add(nid);
          return event;
        },
        authEvents: edges,
      });
      const asked = wanted;
      const unread = new Set([...missing].filter((nid) => !asked.has(nid)));
      if (unread.size === 0) return result;
      wanted = unread;
    }
  }
}

/** All entries of a state. */
export const entriesOf = (chain: StateChain): StateEntries => new Map([...chain.others(), ...chain.members()]);

const isSame = (one: StateEntries, other: StateEntries): boolean => {
  if (one.size !== other.size) return false;
  for (const [skey, nid] of one) if (other.get(skey) !== nid) return false;
  return true;
};

/** Events of entries that are not the same in all states. */
const conflicted = (states: readonly StateMap<number>[]): Set<number> => {
  const found = new Set<number>();
  const keys = new Set(states.flatMap((state) => [...state.keys()]));
  for (const key of keys) {
    const events = new Set(states.map((state) => state.get(key)));
    if (events.size > 1) for (const event of events) if (event !== undefined) found.add(event);
  }
  return found;
};

const closure = (events: ReadonlySet<number>, edges: (nid: number) => readonly number[]): Set<number> => {
  const found = new Set(events);
  // A set is walked in the order of insertion, what is added on the way included.
  for (const nid of found) for (const auth of edges(nid)) found.add(auth);
  return found;
};
