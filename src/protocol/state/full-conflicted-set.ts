import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import { conflictedStateSet } from './separate.ts';
import type { SeparatedState } from './separate.ts';
import type { EventName, StateMap, StateResolutionAccess } from './state-map.ts';

/**
 * Events together with their auth chains: "all of E's auth events, all of their auth events, and so on recursively, stretching
 * back to the start of the room".
 */
export function withAuthChains<Id extends EventName>(
  access: StateResolutionAccess<Id>,
  ids: Iterable<Id>,
): ReadonlySet<Id> {
  const chain = new Set<Id>(ids);
  // A set is walked in the order of insertion, what is added on the way included.
  for (const id of chain) for (const authId of access.authEvents(id)) chain.add(authId);
  return chain;
}

/**
 * "Calculating the full auth chain for each state Si, that is the union of the auth chains for each event in Si, and then taking
 * every event that doesn't appear in every auth chain." Since v2.
 *
 * The events of a state count as members of its chain: conflicted ones belong to the full conflicted set anyway, and the others
 * are in every state. So do all servers, and only so do they agree.
 */
export function authDifference<Id extends EventName>(
  access: StateResolutionAccess<Id>,
  stateSets: readonly StateMap<Id>[],
): Set<Id> {
  const occurrences = new Map<Id, number>();
  for (const stateSet of stateSets) {
    for (const id of withAuthChains(access, stateSet.values())) occurrences.set(id, (occurrences.get(id) ?? 0) + 1);
  }
  const difference = new Set<Id>();
  for (const [id, count] of occurrences) if (count < stateSets.length) difference.add(id);
  return difference;
}

/**
 * "Starting from an event in the conflicted state set and following auth_events edges may lead to another event in the conflicted
 * state set. The union of all such paths between any pair of events in the conflicted state set (including endpoints)". v2.1.
 */
export function conflictedStateSubgraph<Id extends EventName>(
  access: StateResolutionAccess<Id>,
  conflicted: ReadonlySet<Id>,
): Set<Id> {
  // What lies on such a path is reached from a conflicted event, and reaches one.
  const reached = withAuthChains(access, conflicted);
  const citedBy = new Map<Id, Id[]>();
  for (const id of reached) {
    for (const authId of access.authEvents(id)) {
      const citing = citedBy.get(authId);
      if (citing === undefined) citedBy.set(authId, [id]);
      else citing.push(id);
    }
  }
  const subgraph = new Set<Id>(conflicted);
  for (const id of subgraph) for (const citing of citedBy.get(id) ?? []) subgraph.add(citing);
  return subgraph;
}

/**
 * "The union of the conflicted state set and the auth difference"; "the union of the conflicted state set, the conflicted state
 * subgraph, and the auth difference" since v2.1. Events that are not known are left out.
 */
export function fullConflictedSet<Id extends EventName>(
  version: RoomVersion,
  access: StateResolutionAccess<Id>,
  stateSets: readonly StateMap<Id>[],
  separated: SeparatedState<Id>,
): Set<Id> {
  const conflicted = conflictedStateSet(separated);
  const full = new Set(conflicted);
  for (const id of access.authDifference?.(stateSets) ?? authDifference(access, stateSets)) full.add(id);
  if (version.stateResolution === 'v2.1') {
    const subgraph = access.conflictedStateSubgraph?.(conflicted) ?? conflictedStateSubgraph(access, conflicted);
    for (const id of subgraph) full.add(id);
  }
  for (const id of full) if (access.event(id) === undefined) full.delete(id);
  return full;
}
