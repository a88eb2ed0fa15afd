import type { ResolvedChanges, Room } from '#src/services/room-model/room/room.ts';
import type { Member } from '#src/services/room-model/room/membership.ts';
import { stateMapKey } from '#src/protocol/state/state-map.ts';

/** What the resolution of a fork took back. */
export interface StateReset {
  /** Those who were joined, and are not any more by what is older, or by nothing. */
  readonly members: readonly string[];
  /** The power levels are older ones, or none. */
  readonly power: boolean;
}

const POWER = stateMapKey('m.room.power_levels', '');

/**
 * Whether a change of a room's state takes back what events said, without one that says so: a member who was joined is not by an event that is
 * older than the join, or the power levels are those of before. What bans and kicks do, which are newer, is none.
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

/** What came as a part of the state at a gap lies before all positions, however new it is: of that nobody can say. */
const isOlder = (nid: number, than: number): boolean => nid >= 0 && nid < than;
