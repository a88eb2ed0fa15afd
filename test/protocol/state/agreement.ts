import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import type { StateMap } from '#src/protocol/state/state-map.ts';
import { rules } from '../events/event-cases.ts';

/** One room version of each kind: v1, v2 with and without a create event that is told apart, v2.1. */
export const RESOLVING_VERSIONS: readonly RoomVersion[] = ['1', '2', '6', '10', '11', '12'].map(rules);

/** A state map in a form that can be compared. */
export function entries<Id>(state: ReadonlyMap<string, Id>): readonly (readonly [string, Id])[] {
  return [...state].sort(([x], [y]) => (x < y ? -1 : x > y ? 1 : 0));
}

/** The same states with integers for event ids. */
export function numbered(stateSets: readonly StateMap<string>[], number: (id: string) => number): StateMap<number>[] {
  return stateSets.map((stateSet) => new Map([...stateSet].map(([key, id]) => [key, number(id)])));
}
