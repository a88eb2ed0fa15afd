import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import { fullConflictedSet } from './full-conflicted-set.ts';
import { iterativeAuthChecks } from './iterative-auth-checks.ts';
import { mainlineOrdering } from './mainline-ordering.ts';
import { reverseTopologicalPowerOrdering, selectPowerEvents } from './power-ordering.ts';
import { separate } from './separate.ts';
import { stateMapKey, withImpliedCreate } from './state-map.ts';
import type { EventName, StateMap, StateResolutionAccess } from './state-map.ts';

/** State resolution v2 (room versions 2 to 11) and v2.1 (since v12). Room version 2 and 12, "State resolution", "Algorithm". */
export function resolveV2<Id extends EventName>(
  version: RoomVersion,
  stateSets: readonly StateMap<Id>[],
  events: StateResolutionAccess<Id>,
): StateMap<Id> {
  const separated = separate(stateSets);
  const { unconflicted } = separated;
  if (separated.conflicted.size === 0) return unconflicted;
  const access = withImpliedCreate(version, events);
  const full = fullConflictedSet(version, access, stateSets, separated);
  // 1. "Select the set X of all power events ... Sort X into a list using the reverse topological power ordering."
  const powerEvents = selectPowerEvents(access, full);
  const powerOrdering = reverseTopologicalPowerOrdering(version, access, powerEvents);
  // 2. "Apply the iterative auth checks algorithm, starting from the unconflicted state map, to the list of events from the previous
  // step to get a partially resolved state." From "an empty state map" since v2.1.
  const initial: StateMap<Id> = version.stateResolution === 'v2.1' ? new Map() : unconflicted;
  const partial = iterativeAuthChecks(version, access, initial, powerOrdering);
  // 3. "Take all remaining events that weren't picked in step 1 and order them by the mainline ordering based on the power level in
  // the partially resolved state obtained in step 2."
  const remaining = [...full].filter((id) => !powerEvents.has(id));
  const ordering = mainlineOrdering(access, partial.get(stateMapKey('m.room.power_levels', '')), remaining);
  // 4. "Apply the iterative auth checks algorithm on the partial resolved state and the list of events from the previous step."
  const resolved = iterativeAuthChecks(version, access, partial, ordering);
  return applyUnconflicted(resolved, unconflicted);
}

/**
 * 5. "Update the result by replacing any event with the event with the same key from the unconflicted state map, if such an event
 * exists, to get the final resolved state." Since v2.1 most of that state is first added here.
 */
function applyUnconflicted<Id extends EventName>(resolved: StateMap<Id>, unconflicted: StateMap<Id>): StateMap<Id> {
  const state = new Map(resolved);
  for (const [key, id] of unconflicted) state.set(key, id);
  return state;
}
