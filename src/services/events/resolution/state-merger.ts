import type { IdentifiedPdu } from '#src/protocol/events/pdu.ts';
import { resolveState } from '#src/protocol/state/resolve-state.ts';
import { resolveLargeState } from '#src/protocol/state/packed/resolve-large-state.ts';
import { type StateMap, stateMapKey } from '#src/protocol/state/state-map.ts';
import { eventIdText } from '#src/services/room-model/event/event-ids.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { Database } from '#src/storage/database.ts';
import { eventsByNid } from '#src/storage/room-model/event-reads.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import type { AuthGraphs } from './auth-graph.ts';
import type { PackedEdges, ResolutionTask, TaskEvent } from './resolution-messages.ts';
import type { ResolutionThread } from './resolution-thread.ts';
import type { StateChain, StateChange } from '#src/services/room-model/state/state-chain.ts';

const REJECTED = 2;

/** From so many conflicted events on a resolution runs in a thread of its own. */
const LARGE = 500;
/** From so many entries on numbers in typed arrays are faster than maps of names. */
const MANY_ENTRIES = 100;

export interface StateMergerOptions {
  readonly database: Database;
  readonly interner: Interner;
  readonly loader: EventLoader;
  readonly graphs: AuthGraphs;
  readonly thread: ResolutionThread;
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
    const names = await interner.named({ stateKeys: states.flatMap((state) => [...state.keys()]) });
    const keyOf = (skey: number): string => {
      const { type, stateKey } = names.stateKeyNames(skey);
      return stateMapKey(type, stateKey);
    };
    const disputed = conflicted(states);
    let resolved: StateMap<number>;
    if (disputed.size < LARGE) {
      const named = states.map(
        (state): StateMap<number> => new Map([...state].map(([skey, nid]) => [keyOf(skey), nid])),
      );
      resolved = await this.#run(room, named, disputed, fresh);
    } else resolved = await this.#runInThread(room, states, disputed, keyOf, fresh);
    return new Map(
      [...resolved].map(([key, nid]) => {
        const cut = key.indexOf('\0');
        return [names.stateKey(key.slice(0, cut), key.slice(cut + 1)), nid];
      }),
    );
  }

  /** The changes that lead from one state to another. */
  async changes(from: StateEntries, to: StateEntries): Promise<readonly StateChange[]> {
    const { interner } = this.#options;
    const changed: { readonly skey: number; readonly event: number }[] = [];
    for (const [skey, event] of to) if (from.get(skey) !== event) changed.push({ skey, event });
    for (const skey of from.keys()) if (!to.has(skey)) changed.push({ skey, event: 0 });
    const names = await interner.named({ stateKeys: changed.map((change) => change.skey) });
    return changed.map(({ skey, event }) => ({
      skey,
      event,
      isMember: names.stateKeyNames(skey).type === 'm.room.member',
    }));
  }

  /** The auth chains of all events of these states: the edges, and every event that they reach. */
  async #chains(
    room: Room,
    states: Iterable<Iterable<number>>,
    fresh: FreshEvent | undefined,
  ): Promise<{ readonly edges: (nid: number) => readonly number[]; readonly events: ReadonlySet<number> }> {
    const from = new Set(fresh?.auth);
    for (const state of states) for (const nid of state) if (nid !== fresh?.nid) from.add(nid);
    const { edges, events } = await this.#options.graphs.chains(room, from);
    if (fresh !== undefined) events.add(fresh.nid);
    return { edges: (nid) => (nid === fresh?.nid ? fresh.auth : (edges.get(nid) ?? [])), events };
  }

  /** Runs the algorithm until everything that it asks for has been read: it asks without waiting. */
  async #run(
    room: Room,
    states: readonly StateMap<number>[],
    disputed: ReadonlySet<number>,
    fresh: FreshEvent | undefined,
  ): Promise<StateMap<number>> {
    const { loader } = this.#options;
    const stateEvents = states.map((state) => state.values());
    const { edges } = await this.#chains(room, stateEvents, fresh);
    const loaded = new Map<number, IdentifiedPdu>();
    if (fresh !== undefined) loaded.set(fresh.nid, fresh.event);
    const create = createIn(room, states, stateMapKey('m.room.create', ''));
    const algorithm = states.some((state) => state.size > MANY_ENTRIES) ? resolveLargeState : resolveState;
    const asked = new Set<number>();
    for (let wanted: ReadonlySet<number> = closure(disputed, edges); ;) {
      const places = [...wanted].filter((nid) => nid !== fresh?.nid).map((nid) => ({ room, nid }));
      for (const [nid, event] of await loader.load(places)) loaded.set(nid, identified(event));
      for (const nid of wanted) asked.add(nid);
      const missing = new Set<number>();
      const result = algorithm(room.version, states, {
        create,
        event: (nid) => {
          const event = loaded.get(nid);
          if (event === undefined && !asked.has(nid)) missing.add(nid);
          return event;
        },
        authEvents: edges,
      });
      if (missing.size === 0) return result;
      wanted = missing;
    }
  }

  /** The same in a thread of its own. The events go there as text, so that this one does not even parse them. */
  async #runInThread(
    room: Room,
    states: readonly StateEntries[],
    disputed: ReadonlySet<number>,
    keyOf: (skey: number) => string,
    fresh: FreshEvent | undefined,
  ): Promise<StateMap<number>> {
    const { database, interner, thread } = this.#options;
    const stateEvents = states.map((state) => state.values());
    const { edges, events } = await this.#chains(room, stateEvents, fresh);
    const skeys = [...new Set(states.flatMap((state) => [...state.keys()]))];
    const names = await interner.find({ stateKeys: [{ type: 'm.room.create', stateKey: '' }] });
    const task: ResolutionTask = {
      roomVersion: room.version.id,
      create: createIn(room, states, names.stateKey('m.room.create', '')),
      keys: skeys.map(keyOf),
      states: states.map((state) => Float64Array.from(skeys, (skey) => state.get(skey) ?? 0)),
      edges: packEdges(events, edges),
    };
    const read = async (nids: readonly number[]): Promise<TaskEvent[]> => {
      const stored = nids.filter((nid) => nid !== fresh?.nid).map((nid) => ({ room: room.nid, nid }));
      const found = (await eventsByNid(database, stored)).map((record): TaskEvent => ({
        nid: record.nid,
        eventId: eventIdText(room.version, record.event_id),
        rejected: (record.flags & REJECTED) !== 0,
        json: record.json,
      }));
      if (fresh === undefined || !nids.includes(fresh.nid)) return found;
      const { eventId, pdu } = fresh.event;
      return [...found, { nid: fresh.nid, eventId, rejected: false, json: JSON.stringify(pdu) }];
    };
    return thread.resolve(task, [...closure(disputed, edges)], read);
  }
}

const createIn = <Key>(room: Room, states: readonly ReadonlyMap<Key, number>[], key: Key): number => {
  const create = states.map((state) => state.get(key)).find((nid) => nid !== undefined);
  if (create === undefined) throw new Error(`a state of ${room.roomId} has no m.room.create`);
  return create;
};

const packEdges = (events: ReadonlySet<number>, edgesOf: (nid: number) => readonly number[]): PackedEdges => {
  const offsets = [0];
  const edges: number[] = [];
  for (const nid of events) {
    for (const auth of edgesOf(nid)) edges.push(auth);
    offsets.push(edges.length);
  }
  return { nids: Float64Array.from(events), offsets: Int32Array.from(offsets), edges: Float64Array.from(edges) };
};

/** All entries of a state. */
export const entriesOf = (chain: StateChain): StateEntries => {
  const entries = new Map<number, number>();
  for (const { keys, events } of [chain.others(), chain.members()]) {
    for (let i = 0; i < keys.length; i++) entries.set(keys[i] ?? 0, events[i] ?? 0);
  }
  return entries;
};

const isSame = (one: StateEntries, other: StateEntries): boolean => {
  if (one.size !== other.size) return false;
  for (const [skey, nid] of one) if (other.get(skey) !== nid) return false;
  return true;
};

/** Events of entries that are not the same in all states. */
const conflicted = (states: readonly StateEntries[]): Set<number> => {
  const found = new Set<number>();
  for (const state of states) {
    for (const [skey, event] of state) if (states.some((other) => other.get(skey) !== event)) found.add(event);
  }
  return found;
};

const closure = (events: ReadonlySet<number>, edges: (nid: number) => readonly number[]): Set<number> => {
  const found = new Set(events);
  // A set is walked in the order of insertion, what is added on the way included.
  for (const nid of found) for (const auth of edges(nid)) found.add(auth);
  return found;
};
