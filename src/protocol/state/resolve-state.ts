import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import { resolveV1 } from './resolve-v1.ts';
import { resolveV2 } from './resolve-v2.ts';
import type { EventName, StateMap, StateResolutionAccess } from './state-map.ts';

/**
 * The resolution of states by the algorithm of the room version: the state before an event from the states after its
 * `prev_events`. Room versions, "State resolution".
 *
 * The order of the states has no influence on the result. Meant for forks of some hundred conflicted events;
 * `resolveLargeState` comes to the same result faster.
 *
 * @param stateSets the states; none at all resolve to the empty one
 */
export function resolveState<Id extends EventName>(
  version: RoomVersion,
  stateSets: readonly StateMap<Id>[],
  access: StateResolutionAccess<Id>,
): StateMap<Id> {
  const [first, ...others] = stateSets;
  if (first === undefined) return new Map();
  if (others.length === 0) return first;
  return version.stateResolution === 'v1'
    ? resolveV1(version, stateSets, access)
    : resolveV2(version, stateSets, access);
}
