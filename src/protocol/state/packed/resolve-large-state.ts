import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import { resolveState } from '../resolve-state.ts';
import { withImpliedCreate } from '../state-map.ts';
import type { EventName, StateMap, StateResolutionAccess } from '../state-map.ts';
import { authGraphOf, Numbering, packedAuthDifference, packedConflictedSubgraph } from './auth-graph.ts';
import { packResolution } from './packed-resolution.ts';
import type { PackedResolution, Packing } from './packed-resolution.ts';
import { resolvePacked } from './resolve-packed.ts';

/** States taken apart, and what there is to decide. */
export interface LargeResolution<Id extends EventName> {
  readonly packing: Packing<Id>;
  /** The state without the conflicted entries. */
  readonly unconflicted: ReadonlyMap<string, Id>;
}

/**
 * Like `resolveState` and with the same result, on numbers in typed arrays: for rooms with thousands of conflicted entries.
 * (Room version 1 has no auth chains to walk and goes the plain way.)
 *
 * Its steps can also be taken one by one, with the middle one in another thread: `prepareResolution`, `resolvePacked`,
 * `finishResolution`.
 */
export function resolveLargeState<Id extends EventName>(
  version: RoomVersion,
  stateSets: readonly StateMap<Id>[],
  access: StateResolutionAccess<Id>,
): StateMap<Id> {
  if (version.stateResolution === 'v1' || stateSets.length < 2) return resolveState(version, stateSets, access);
  const prepared = prepareResolution(version, stateSets, access);
  return prepared === undefined
    ? (stateSets[0] ?? new Map())
    : finishResolution(prepared, resolvePacked(prepared.packing.packed));
}

/** Finds the full conflicted set of states and packs it. Undefined if there is no conflict. v2 and v2.1. */
export function prepareResolution<Id extends EventName>(
  version: RoomVersion,
  stateSets: readonly StateMap<Id>[],
  events: StateResolutionAccess<Id>,
): LargeResolution<Id> | undefined {
  const { unconflicted, conflicted } = separateLarge(stateSets);
  if (conflicted.size === 0) return undefined;
  const access = withImpliedCreate(version, events);
  const full = fullConflictedSetLarge(version, access, stateSets, conflicted);
  const packing = packResolution(version, access, full, version.stateResolution === 'v2.1' ? undefined : unconflicted);
  return { packing, unconflicted };
}

/** Step 5 of the algorithm: puts the unconflicted state over what `resolvePacked` came to. */
export function finishResolution<Id extends EventName>(
  { packing, unconflicted }: LargeResolution<Id>,
  resolved: Int32Array,
): StateMap<Id> {
  const { ids } = packing;
  const { keyNames }: PackedResolution = packing.packed;
  const state = new Map(unconflicted);
  for (const [key, name] of keyNames.entries()) {
    const id = ids[resolved[key] ?? -1];
    if (id !== undefined && !unconflicted.has(name)) state.set(name, id);
  }
  return state;
}

/** See `separate`; made for states that agree on most entries. */
function separateLarge<Id extends EventName>(
  stateSets: readonly StateMap<Id>[],
): { readonly unconflicted: Map<string, Id>; readonly conflicted: Set<Id> } {
  const [first = new Map<string, Id>(), ...others] = stateSets;
  const unconflicted = new Map(first);
  const conflicted = new Set<Id>();
  for (const other of others) {
    for (const [key, id] of other) {
      const firstId = first.get(key);
      if (firstId === id) continue;
      conflicted.add(id);
      if (firstId === undefined) continue;
      conflicted.add(firstId);
      unconflicted.delete(key);
    }
    // Entries that only the first has; if all are there the sizes tell.
    for (const [key, id] of first) {
      if (other.has(key)) continue;
      conflicted.add(id);
      unconflicted.delete(key);
    }
  }
  return { unconflicted, conflicted };
}

/** See `fullConflictedSet`. */
function fullConflictedSetLarge<Id extends EventName>(
  version: RoomVersion,
  access: StateResolutionAccess<Id>,
  stateSets: readonly StateMap<Id>[],
  conflicted: ReadonlySet<Id>,
): Set<Id> {
  const full = new Set(conflicted);
  const known = access.authDifference?.(stateSets);
  const knownSubgraph =
    version.stateResolution === 'v2.1' ? access.conflictedStateSubgraph?.(conflicted) : ([] as readonly Id[]);
  for (const id of known ?? []) full.add(id);
  for (const id of knownSubgraph ?? []) full.add(id);
  if (known !== undefined && knownSubgraph !== undefined) return full;
  const numbering = new Numbering<Id>();
  const conflictedNumbers = Int32Array.from(conflicted, (id) => numbering.add(id));
  const sets =
    known === undefined ? stateSets.map((set) => Int32Array.from(set.values(), (id) => numbering.add(id))) : [];
  const graph = authGraphOf(numbering, (id) => access.authEvents(id));
  const addAll = (numbers: Int32Array): void => {
    for (const number of numbers) full.add(numbering.ids[number] as Id);
  };
  if (known === undefined) addAll(packedAuthDifference(graph, sets));
  if (knownSubgraph === undefined) addAll(packedConflictedSubgraph(graph, conflictedNumbers));
  return full;
}
