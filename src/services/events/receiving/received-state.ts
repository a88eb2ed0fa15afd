import { LoopYield } from '#src/kernel/event-loop/loop-yield.ts';
import type { IdentifiedPdu } from '#src/protocol/events/pdu.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { StateChain, type StateChange } from '#src/services/room-model/state/state-chain.ts';
import {
  ENTRIES_AT_ONCE,
  entriesOf,
  entriesOfAll,
  type StateEntries,
} from '#src/services/events/resolution/state-entries.ts';
import type { StateMerger } from '#src/services/events/resolution/state-merger.ts';
import type { StateStore } from '#src/services/room-model/state/state-store.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';

/** Stands for the position of the event that is being accepted, until it has one: no event has it. */
export const OWN_EVENT = -1;

/** The state before a remote event. */
export interface StateBefore {
  /** A state that is stored already, and the changes that lead from there to the state before the event. */
  readonly branch: StateChain;
  readonly toBefore: readonly StateChange[];
  /** The event of one entry. */
  readonly get: (skey: number) => number | undefined;
  /** All of it. Costs a copy of a stored state. */
  readonly entries: () => StateEntries;
}

/** What an event does to the room's state. */
export interface StateAfterwards {
  /** From the room's present state to the one that it has afterwards. */
  readonly changes: readonly StateChange[];
  /** The room's state afterwards is the one after the event. */
  readonly isAfterEvent: boolean;
}

/**
 * The states around remote events. Where an event comes after all that the room has, or after a state that is
 * stored, nothing is resolved and no state is copied: what it costs is what it changes, however many members there are.
 */
export class ReceivedStates {
  readonly #states: Pick<StateStore, 'load'>;
  readonly #merger: Pick<StateMerger, 'resolve' | 'changes'>;

  constructor({
    states,
    merger,
  }: {
    readonly states: Pick<StateStore, 'load'>;
    readonly merger: Pick<StateMerger, 'resolve' | 'changes'>;
  }) {
    this.#states = states;
    this.#merger = merger;
  }

  /**
   * "The state of the room before the event": the states after its prev_events, resolved.
   *
   * @param told states after those prev_events that are not here
   * @param beside id of a stored state that is the one after further prev_events
   */
  async before(
    room: Room,
    prev: readonly StoredEvent[],
    told: readonly StateEntries[] = [],
    beside?: number,
  ): Promise<StateBefore> {
    if (beside !== undefined) {
      const chain = (await this.#states.load([beside])).get(beside) ?? StateChain.EMPTY;
      if (prev.length === 0) return stored(chain);
      const branches = [...(await this.#statesAfter(room, prev)), chain];
      return this.#merged(room, branches, await entriesOfAll(branches));
    }
    if (told.length > 0) {
      const branches = await this.#statesAfter(room, prev);
      return this.#merged(room, branches, [...(await entriesOfAll(branches)), ...told]);
    }
    const { extremities } = room.head;
    const named = new Set(prev.map((event) => event.nid));
    // The room's state is what the states after its forward extremities resolve to.
    if (named.size === extremities.length && extremities.every((event) => named.has(event.nid)))
      return stored(room.head.chain);
    const branches = await this.#statesAfter(room, prev);
    const [only] = branches;
    if (only === undefined) return stored(StateChain.EMPTY);
    if (branches.length === 1) return stored(only);
    return this.#merged(room, branches, await entriesOfAll(branches));
  }

  async #merged(room: Room, branches: readonly StateChain[], states: readonly StateEntries[]): Promise<StateBefore> {
    const entries = await this.#merger.resolve(room, states);
    const nearest = await this.#nearest([...branches, room.head.chain], entries);
    return { ...nearest, get: (skey) => entries.get(skey), entries: () => entries };
  }

  /**
   * The room's state once an accepted event is in: the states after all its forward extremities, resolved.
   *
   * @param others forward extremities that stay beside it
   */
  async afterwards(
    room: Room,
    event: {
      readonly incoming: IdentifiedPdu;
      readonly auth: readonly StoredEvent[];
      readonly before: StateBefore;
      readonly own: StateChange | undefined;
    },
    others: readonly StoredEvent[],
  ): Promise<StateAfterwards> {
    const { before, own } = event;
    const besides = await this.#statesAfter(room, others);
    const isAlone = besides.length === 0 || (own === undefined && besides.every((state) => isSame(state, before)));
    if (isAlone && before.toBefore.length === 0) {
      const changes = room.head.chain.changesTo(before.branch).filter((change) => change.skey !== own?.skey);
      return { changes: own === undefined ? changes : [...changes, own], isAfterEvent: true };
    }
    const present = entriesOf(room.head.chain);
    const after = own === undefined ? before.entries() : new Map(before.entries()).set(own.skey, own.event);
    if (isAlone) return { changes: await this.#merger.changes(present, after), isAfterEvent: true };
    const fresh = { nid: OWN_EVENT, event: event.incoming, auth: event.auth.map((one) => one.nid) };
    const current = await this.#merger.resolve(room, [after, ...(await entriesOfAll(besides))], fresh);
    return { changes: await this.#merger.changes(present, current), isAfterEvent: isSameState(after, current) };
  }

  async #statesAfter(room: Room, events: readonly StoredEvent[]): Promise<StateChain[]> {
    const { chain } = room.head;
    const nids = new Set(events.map((event) => event.stateAfter));
    const chains = await this.#states.load([...nids].filter((nid) => nid !== chain.nid));
    return [...nids].map((nid) => chains.get(nid) ?? chain);
  }

  /** Of some stored states the one from which the fewest changes lead to the state before the event. */
  async #nearest(
    candidates: readonly StateChain[],
    before: StateEntries,
  ): Promise<{ readonly branch: StateChain; readonly toBefore: readonly StateChange[] }> {
    let nearest: { readonly branch: StateChain; readonly toBefore: readonly StateChange[] } | undefined;
    const loopYield = new LoopYield(ENTRIES_AT_ONCE);
    for (const branch of new Set(candidates)) {
      const toBefore = await this.#merger.changes(entriesOf(branch), before);
      await loopYield.after(before.size);
      if (nearest === undefined || toBefore.length < nearest.toBefore.length) nearest = { branch, toBefore };
      if (toBefore.length === 0) break;
    }
    return nearest ?? { branch: StateChain.EMPTY, toBefore: [] };
  }
}

/** A state with entries that are not in it. */
export const withEntries = (before: StateBefore, more: readonly StateChange[]): StateBefore => {
  if (more.length === 0) return before;
  const added = new Map(more.map(({ skey, event }) => [skey, event]));
  return {
    branch: before.branch,
    toBefore: [...before.toBefore, ...more],
    get: (skey) => added.get(skey) ?? before.get(skey),
    entries: () => new Map([...before.entries(), ...added]),
  };
};

const stored = (branch: StateChain): StateBefore => ({
  branch,
  toBefore: [],
  get: (skey) => branch.get(skey),
  entries: () => entriesOf(branch),
});

/** Said by ids alone: states that are equal under different ids are found to be so when they are resolved. */
const isSame = (state: StateChain, { branch, toBefore }: StateBefore): boolean =>
  toBefore.length === 0 && state.nid === branch.nid;

const isSameState = (one: StateEntries, other: StateEntries): boolean =>
  one.size === other.size && [...one].every(([skey, nid]) => other.get(skey) === nid);
