import { LoopYield } from '#src/kernel/event-loop/loop-yield.ts';
import type { StateChain } from '#src/services/room-model/state/state-chain.ts';

/** Entries that are compared in one turn of the event loop: about two milliseconds. */
export const ENTRIES_AT_ONCE = 10_000;

/** The entries of a state: state key -> state event, both as integers. */
export type StateEntries = ReadonlyMap<number, number>;

/** All entries of a state. */
export const entriesOf = (chain: StateChain): StateEntries => {
  const entries = new Map<number, number>();
  for (const { keys, events } of [chain.others(), chain.members()]) {
    for (let i = 0; i < keys.length; i++) entries.set(keys[i] ?? 0, events[i] ?? 0);
  }
  return entries;
};

/** The entries of several states, one state in a turn of the event loop where they are large. */
export const entriesOfAll = async (chains: readonly StateChain[]): Promise<StateEntries[]> => {
  const loopYield = new LoopYield(ENTRIES_AT_ONCE);
  const states: StateEntries[] = [];
  for (const chain of chains) {
    const entries = entriesOf(chain);
    states.push(entries);
    const waiting = loopYield.after(entries.size);
    if (waiting !== undefined) await waiting;
  }
  return states;
};

/** The keys whose entries are not the same in all states: those of the others first, in their order. */
export const disputedIn = async (first: StateEntries, others: readonly StateEntries[]): Promise<Set<number>> => {
  const loopYield = new LoopYield(ENTRIES_AT_ONCE);
  const disputed = new Set<number>();
  for (const other of others) {
    let shared = 0;
    for (const [skey, nid] of other) {
      const here = first.get(skey);
      if (here !== undefined) shared += 1;
      if (here !== nid) disputed.add(skey);
      const waiting = loopYield.after(1);
      if (waiting !== undefined) await waiting;
    }
    if (shared === first.size) continue;
    for (const skey of first.keys()) {
      if (!other.has(skey)) disputed.add(skey);
      const waiting = loopYield.after(1);
      if (waiting !== undefined) await waiting;
    }
  }
  return disputed;
};
