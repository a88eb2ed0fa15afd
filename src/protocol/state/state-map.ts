import type { IdentifiedPdu } from '#src/protocol/events/pdu.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';

/** How the caller names events: by event id, or by an integer of its own that stands for one. */
export type EventName = string | number;

/** A room state: `stateMapKey` of an entry -> the state event. */
export type StateMap<Id extends EventName> = ReadonlyMap<string, Id>;

/** The key of the entry `(type, state key)` of a state map. */
export function stateMapKey(type: string, stateKey: string): string {
  return `${type}\0${stateKey}`;
}

/** The key of the entry that a state event sets. */
export function keyOfEvent({ pdu }: IdentifiedPdu): string {
  return stateMapKey(pdu.type, pdu.state_key ?? '');
}

/** What state resolution asks of the store of the room's events. Answers must not change while it runs. */
export interface StateResolutionAccess<Id extends EventName> {
  /** The room's `m.room.create`. Read in room versions whose auth events do not name it (since v12). */
  readonly create: Id;
  /** An event, or undefined if it is not known; those are left out. */
  event(id: Id): IdentifiedPdu | undefined;
  /** The events that `auth_events` of an event names, as it names them. */
  authEvents(id: Id): readonly Id[];
  /** The auth difference of states, if there is a faster way to it than walking `authEvents`. See `authDifference`. */
  authDifference?(stateSets: readonly StateMap<Id>[]): Iterable<Id>;
  /** The conflicted state subgraph, likewise. See `conflictedStateSubgraph`. v2.1. */
  conflictedStateSubgraph?(conflicted: ReadonlySet<Id>): Iterable<Id>;
}

/**
 * The same access with the create event among the auth events of every other event, also where the room id implies it.
 * Room version 12, "Authorisation rules".
 */
export function withImpliedCreate<Id extends EventName>(
  version: RoomVersion,
  access: StateResolutionAccess<Id>,
): StateResolutionAccess<Id> {
  if (version.auth.createEventSelected) return access;
  const { create } = access;
  return {
    create,
    event: (id) => access.event(id),
    authEvents: (id) => (id === create ? [] : [...access.authEvents(id), create]),
    ...(access.authDifference === undefined
      ? {}
      : { authDifference: (stateSets) => access.authDifference?.(stateSets) ?? [] }),
    ...(access.conflictedStateSubgraph === undefined
      ? {}
      : { conflictedStateSubgraph: (conflicted) => access.conflictedStateSubgraph?.(conflicted) ?? [] }),
  };
}

/** The first event among the auth events of an event that sets the entry `(type, '')`. */
export function authEventOfType<Id extends EventName>(
  access: StateResolutionAccess<Id>,
  id: Id,
  type: 'm.room.power_levels' | 'm.room.create',
): Id | undefined {
  return access.authEvents(id).find((authId) => {
    const pdu = access.event(authId)?.pdu;
    return pdu?.type === type && pdu.state_key === '';
  });
}
