import { checkAuth } from '#src/protocol/auth/check-auth.ts';
import type { StateAccess } from '#src/protocol/auth/verdict.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import { keyOfEvent, stateMapKey } from './state-map.ts';
import type { EventName, StateMap, StateResolutionAccess } from './state-map.ts';

/**
 * The iterative auth checks algorithm: "takes as input an initial room state and a sorted list of state events, and constructs a
 * new room state by iterating through the event list and applying the state event to the room state if the state event is allowed
 * by the authorisation rules."
 */
export function iterativeAuthChecks<Id extends EventName>(
  version: RoomVersion,
  access: StateResolutionAccess<Id>,
  initial: StateMap<Id>,
  ordering: readonly Id[],
): Map<string, Id> {
  const state = new Map(initial);
  for (const id of ordering) {
    const event = access.event(id);
    if (event === undefined) continue;
    // "If the state event is not allowed by the authorisation rules, then the event is ignored."
    if (checkAuth(version, event, stateFor(access, state, id)).ok) state.set(keyOfEvent(event), id);
  }
  return state;
}

/**
 * "If a (event_type, state_key) key that is required for checking the authorisation rules is not present in the state, then the
 * appropriate state event from the event's auth_events is used if the auth event is not rejected."
 */
function stateFor<Id extends EventName>(
  access: StateResolutionAccess<Id>,
  state: ReadonlyMap<string, Id>,
  id: Id,
): StateAccess {
  return (type, stateKey) => {
    const current = state.get(stateMapKey(type, stateKey));
    const event = current === undefined ? undefined : access.event(current);
    if (event !== undefined) return event;
    for (const authId of access.authEvents(id)) {
      const authEvent = access.event(authId);
      if (authEvent === undefined || authEvent.rejected === true) continue;
      if (authEvent.pdu.type === type && authEvent.pdu.state_key === stateKey) return authEvent;
    }
    return undefined;
  };
}
