import type { ResolvedChanges } from '#src/services/room-model/room/resolved-changes.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { Member } from '#src/services/room-model/room/membership.ts';
import { stateMapKey } from '#src/protocol/state/state-map.ts';

/** What state resolution undid. */
export interface StateReset {
  /** Users who were joined, and whose membership is an older one now, or none. */
  readonly members: readonly string[];
  /** The power levels are older ones, or none. */
  readonly power: boolean;
}

const POWER = stateMapKey('m.room.power_levels', '');

/**
 * Whether a change of a room's state is a state reset: a member who was joined is not any more by an event that is
 * older than the join, or the power levels are older ones again. Bans and kicks, which are newer, are none.
 *
 * @param own position of the event that is accepted
 */
export const stateResetOf = (
  room: Room,
  { members, state }: ResolvedChanges,
  memberNow: (userId: string) => Member | undefined,
  own: number,
): StateReset | undefined => {
  const gone = members.filter(({ event, membership, userId }) => {
    const before = memberNow(userId);
    return before?.membership === 'join' && membership !== 'join' && event !== own && isOlder(event, before.event);
  });
  const levels = room.stateEvent('m.room.power_levels');
  const slot = state.get(POWER);
  const power =
    levels !== undefined && state.has(POWER) && slot?.event.nid !== own && isOlder(slot?.event.nid ?? 0, levels.nid);
  return gone.length === 0 && !power ? undefined : { members: gone.map(({ userId }) => userId), power };
};

/** An event that came as part of the state at a gap has a position before all others, however new it is: its age is not known. */
const isOlder = (nid: number, than: number): boolean => nid >= 0 && nid < than;
