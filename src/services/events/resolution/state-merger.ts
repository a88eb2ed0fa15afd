import { LoopYield } from '#src/kernel/event-loop/loop-yield.ts';
import { authEventKeysFor } from '#src/protocol/auth/auth-events.ts';
import { EVENT_FLAGS } from '#src/protocol/events/event-flags.ts';
import type { IdentifiedPdu } from '#src/protocol/events/pdu.ts';
import { resolveState } from '#src/protocol/state/resolve-state.ts';
import { resolveLargeState } from '#src/protocol/state/packed/resolve-large-state.ts';
import { type StateMap, stateMapKey } from '#src/protocol/state/state-map.ts';
import { eventIdText } from '#src/services/room-model/event/event-ids.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import { identified } from '#src/services/room-model/event/identified-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { Database } from '#src/storage/database.ts';
import { eventsByNid } from '#src/storage/room-model/event-reads.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import { type Names, stateKeyOf } from '#src/storage/room-model/names.ts';
import type { AuthGraphs } from './auth-graph.ts';
import type { PackedEdges, ResolutionTask, TaskEvent } from './resolution-messages.ts';
import type { ResolutionThread } from './resolution-thread.ts';
import { disputedIn, ENTRIES_AT_ONCE, type StateEntries } from './state-entries.ts';
import type { StateChange } from '#src/services/room-model/state/state-chain.ts';

/** From so many events in the full conflicted set on a resolution runs in a thread of its own, */
const LARGE = 500;
/** from so many in the auth chains of what is conflicted, */
const LONG = 5_000;
/** and from so many characters of them: they are parsed for it. */
const MANY_CHARACTERS = 4 * 1024 * 1024;
/** From so many entries, or characters, on numbers in typed arrays are faster than maps of names: power levels are read once. */
const MANY_ENTRIES = 100;
const SOME_CHARACTERS = 256 * 1024;
/** Characters of events that are parsed in one turn of the event loop: about two milliseconds. */
const CHARACTERS_AT_ONCE = 256 * 1024;
/** What an event costs beside its characters. */
const CHARACTERS_OF_EVENT = 1_000;
/** Events that are read, and names that are looked up together. */
const EVENTS_TOGETHER = 100;
const NAMES_TOGETHER = 5_000;
/** Entries that judge nearly every event. */
const GROUND = [
  { type: 'm.room.create', stateKey: '' },
  { type: 'm.room.power_levels', stateKey: '' },
  { type: 'm.room.join_rules', stateKey: '' },
];

export interface StateMergerOptions {
  readonly database: Database;
  readonly interner: Interner;
  readonly loader: EventLoader;
  readonly graphs: AuthGraphs;
  readonly thread: ResolutionThread;
}

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

  /**
   * The state that these resolve to. Reads the room's auth graph and the events that the algorithm asks for, in batches. Only what the states
   * do not agree on is resolved, and a state may have any number of entries: other work has its turn in between.
   */
  async resolve(room: Room, states: readonly StateEntries[], fresh?: FreshEvent): Promise<StateEntries> {
    const [first, ...others] = states;
    if (first === undefined) return new Map();
    const disputed = await disputedIn(first, others);
    if (disputed.size === 0) return first;
    const own = states.map((state) => new Map([...disputed].flatMap((skey) => entryOf(state, skey))));
    const parted: PartedStates = { first, disputed, own };
    const difference = await this.#authDifference(room, parted, fresh);
    const conflicted = new Set(own.flatMap((state) => [...state.values()]));
    const wanted = (await this.#chains(room, conflicted, fresh)).events;
    const isLarge = new Set([...conflicted, ...difference.events]).size >= LARGE || wanted.size >= LONG;
    const events = isLarge ? undefined : await this.#read(room, wanted, fresh);
    if (events === undefined) return this.#runInThread(room, states, wanted, fresh);
    return this.#run(room, parted, { ...difference, loaded: events });
  }

  /** The changes that lead from one state to another. */
  async changes(from: StateEntries, to: StateEntries): Promise<readonly StateChange[]> {
    const { interner } = this.#options;
    const changed = [...(await disputedIn(from, [to]))].map((skey) => ({ skey, event: to.get(skey) ?? 0 }));
    const names = await interner.named({ stateKeys: changed.map((change) => change.skey) });
    return changed.map(({ skey, event }) => ({
      skey,
      event,
      isMember: names.stateKeyNames(skey).type === 'm.room.member',
    }));
  }

  /**
   * Events of the auth chains of some states that are not in all of them. Those of what the states agree on are in each: they are left out from
   * the beginning.
   */
  async #authDifference(
    room: Room,
    { disputed, first, own }: PartedStates,
    fresh: FreshEvent | undefined,
  ): Promise<{ readonly edges: (nid: number) => readonly number[]; readonly events: ReadonlySet<number> }> {
    const common: number[] = [];
    for (const [skey, nid] of first) if (!disputed.has(skey)) common.push(nid);
    const inAll = await this.#chains(room, common, undefined);
    const times = new Map<number, number>();
    for (const state of own) {
      const { events } = await this.#chains(room, state.values(), fresh, inAll.events);
      for (const nid of events) times.set(nid, (times.get(nid) ?? 0) + 1);
    }
    const events = new Set<number>();
    for (const [nid, count] of times) if (count < own.length) events.add(nid);
    return { edges: (nid) => (nid === fresh?.nid ? fresh.auth : (inAll.edges.get(nid) ?? [])), events };
  }

  /** The auth chains of events, of which one may not be stored yet. */
  async #chains(
    room: Room,
    nids: Iterable<number>,
    fresh: FreshEvent | undefined,
    except?: ReadonlySet<number>,
  ): ReturnType<AuthGraphs['chains']> {
    const from = new Set(nids);
    const hasFresh = fresh !== undefined && from.delete(fresh.nid);
    if (hasFresh) for (const auth of fresh.auth) from.add(auth);
    const chains = await this.#options.graphs.chains(room, from, except);
    if (hasFresh) chains.events.add(fresh.nid);
    return chains;
  }

  /** Reads events, a few at a time. @returns undefined where they are too long to be parsed here */
  async #read(room: Room, wanted: ReadonlySet<number>, fresh: FreshEvent | undefined): Promise<ReadEvents | undefined> {
    const loopYield = new LoopYield(CHARACTERS_AT_ONCE);
    const byNid = new Map<number, IdentifiedPdu>();
    if (fresh !== undefined) byNid.set(fresh.nid, fresh.event);
    const places = [...wanted].filter((nid) => nid !== fresh?.nid).map((nid) => ({ room, nid }));
    let characters = 0;
    for (let at = 0; at < places.length; at += EVENTS_TOGETHER) {
      for (const [nid, event] of await this.#options.loader.load(places.slice(at, at + EVENTS_TOGETHER))) {
        characters += event.json.length;
        if (characters > MANY_CHARACTERS) return undefined;
        byNid.set(nid, identified(event));
        const waiting = loopYield.after(CHARACTERS_OF_EVENT + event.json.length);
        if (waiting !== undefined) await waiting;
      }
    }
    return { byNid, characters };
  }

  /** Runs the algorithm until everything that it asks for has been read: it asks without waiting. */
  async #run(
    room: Room,
    { disputed, first, own }: PartedStates,
    difference: {
      readonly edges: (nid: number) => readonly number[];
      readonly events: ReadonlySet<number>;
      readonly loaded: ReadEvents;
    },
  ): Promise<StateEntries> {
    const { interner, loader } = this.#options;
    const { edges, events: inSome } = difference;
    const { byNid: loaded, characters } = difference.loaded;
    const names = await interner.named({ stateKeys: disputed });
    // Of what the states agree on, the rules ask for these alone.
    const ground = new Map(GROUND.map((key) => [stateMapKey(key.type, key.stateKey), key]));
    for (const { pdu } of loaded.values())
      for (const [type, stateKey] of authEventKeysFor(room.version, pdu))
        ground.set(stateMapKey(type, stateKey), { type, stateKey });
    names.with(await interner.find({ stateKeys: ground.values() }));
    const common = new Map<string, number>();
    for (const [key, { type, stateKey }] of ground) {
      const skey = names.peekStateKey(type, stateKey);
      const nid = skey === undefined || disputed.has(skey) ? undefined : first.get(skey);
      if (nid !== undefined) common.set(key, nid);
    }
    const states = own.map((state): StateMap<number> => {
      const named = new Map(common);
      for (const [skey, nid] of state) {
        const { type, stateKey } = names.stateKeyNames(skey);
        named.set(stateMapKey(type, stateKey), nid);
      }
      return named;
    });
    const create = createIn(room, states, stateMapKey('m.room.create', ''));
    const algorithm =
      characters > SOME_CHARACTERS || states.some((state) => state.size > MANY_ENTRIES)
        ? resolveLargeState
        : resolveState;
    const asked = new Set(loaded.keys());
    for (;;) {
      const missing = new Set<number>();
      const resolved = algorithm(room.version, states, {
        create,
        event: (nid) => {
          const event = loaded.get(nid);
          if (event === undefined && !asked.has(nid)) missing.add(nid);
          return event;
        },
        authEvents: edges,
        authDifference: () => inSome,
      });
      if (missing.size === 0) return this.#withResolved(first, disputed, resolved, names);
      for (const [nid, event] of await loader.load([...missing].map((nid) => ({ room, nid }))))
        loaded.set(nid, identified(event));
      for (const nid of missing) asked.add(nid);
    }
  }

  /** The same in a thread of its own. The events go there as text, so that this one does not even parse them. */
  async #runInThread(
    room: Room,
    states: readonly StateEntries[],
    wanted: ReadonlySet<number>,
    fresh: FreshEvent | undefined,
  ): Promise<StateEntries> {
    const { database, graphs, interner, thread } = this.#options;
    const loopYield = new LoopYield(ENTRIES_AT_ONCE);
    const from = new Set(fresh?.auth);
    const skeys = new Set<number>();
    for (const state of states) {
      for (const [skey, nid] of state) {
        skeys.add(skey);
        if (nid !== fresh?.nid) from.add(nid);
      }
      await loopYield.after(state.size);
    }
    const { edges, events } = await graphs.chains(room, from);
    if (fresh !== undefined) events.add(fresh.nid);
    const names = await interner.find({ stateKeys: [{ type: 'm.room.create', stateKey: '' }] });
    const numbers = [...skeys];
    for (let at = 0; at < numbers.length; at += NAMES_TOGETHER) {
      names.with(await interner.named({ stateKeys: numbers.slice(at, at + NAMES_TOGETHER) }));
      await loopYield.after(ENTRIES_AT_ONCE);
    }
    const packed: Float64Array[] = [];
    for (const state of states) {
      packed.push(Float64Array.from(numbers, (skey) => state.get(skey) ?? 0));
      await loopYield.after(numbers.length);
    }
    const task: ResolutionTask = {
      roomVersion: room.version.id,
      create: createIn(room, states, names.stateKey('m.room.create', '')),
      keys: numbers.map((skey) => keyIn(names, skey)),
      states: packed,
      edges: packEdges(events, (nid) => (nid === fresh?.nid ? fresh.auth : (edges.get(nid) ?? []))),
    };
    const read = async (nids: readonly number[]): Promise<TaskEvent[]> => {
      const stored = nids.filter((nid) => nid !== fresh?.nid).map((nid) => ({ room: room.nid, nid }));
      const found = (await eventsByNid(database, stored)).map((record): TaskEvent => ({
        nid: record.nid,
        eventId: eventIdText(room.version, record.event_id),
        rejected: (record.flags & EVENT_FLAGS.rejected) !== 0,
        json: record.json,
      }));
      if (fresh === undefined || !nids.includes(fresh.nid)) return found;
      const { eventId, pdu } = fresh.event;
      return [...found, { nid: fresh.nid, eventId, rejected: false, json: JSON.stringify(pdu) }];
    };
    const resolved = await thread.resolve(task, [...wanted], read);
    return this.#withResolved(new Map(), new Set(), resolved, names);
  }

  /**
   * A state with what was resolved in the place of its disputed entries.
   *
   * @param names of all keys of the states: an event of their auth chains may have one that is in none of them
   */
  async #withResolved(
    state: StateEntries,
    disputed: ReadonlySet<number>,
    resolved: StateMap<number>,
    names: Names,
  ): Promise<StateEntries> {
    const unnamed = [...resolved.keys()]
      .map(stateKeyOf)
      .filter(({ type, stateKey }) => names.peekStateKey(type, stateKey) === undefined);
    if (unnamed.length > 0) names.with(await this.#options.interner.find({ stateKeys: unnamed }));
    const entries = new Map(state);
    for (const skey of disputed) entries.delete(skey);
    for (const [text, nid] of resolved) {
      const { type, stateKey } = stateKeyOf(text);
      const skey = names.stateKey(type, stateKey);
      if (!entries.has(skey)) entries.set(skey, nid);
    }
    return entries;
  }
}

/** States, and what they do not agree on. */
interface PartedStates {
  /** One of them. */
  readonly first: StateEntries;
  /** The keys whose entries are not the same in all of them. */
  readonly disputed: ReadonlySet<number>;
  /** The entries of those keys, of each. */
  readonly own: readonly StateEntries[];
}

interface ReadEvents {
  readonly byNid: Map<number, IdentifiedPdu>;
  /** How many characters they have. */
  readonly characters: number;
}

const keyIn = (names: Names, skey: number): string => {
  const { type, stateKey } = names.stateKeyNames(skey);
  return stateMapKey(type, stateKey);
};

const entryOf = (state: StateEntries, skey: number): [skey: number, nid: number][] => {
  const nid = state.get(skey);
  return nid === undefined ? [] : [[skey, nid]];
};

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
