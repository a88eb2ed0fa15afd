import type { StateSlot } from './current-state.ts';
import type { Member } from './membership.ts';

/** How state resolution changed a room's state. */
export interface ResolvedChanges {
  /** By `stateMapKey`; undefined takes the entry out. */
  readonly state: ReadonlyMap<string, StateSlot | undefined>;
  readonly members: readonly Member[];
}
