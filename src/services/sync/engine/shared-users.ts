import { LoopYield } from '#src/kernel/event-loop/loop-yield.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { SyncUser } from './sync-user.ts';

/** Members of rooms that are looked at in one turn of the event loop. */
const MEMBERS_AT_ONCE = 20_000;

/** The user, and the users with whom they share rooms: all of them, or those of this server. */
export const sharedUsers = async (
  user: SyncUser,
  rooms: Pick<RoomRegistry, 'visit'>,
  whose: 'all' | 'local',
): Promise<ReadonlySet<string>> => {
  const found = new Set([user.userId]);
  const look = (room: Room): void => {
    looked += room.members.size;
    for (const { userId, local, membership } of room.members.values())
      if (membership === 'join' && (local || whose === 'all')) found.add(userId);
  };
  let looked = 0;
  const loopYield = new LoopYield(MEMBERS_AT_ONCE);
  for (const stub of user.joined.values()) {
    const visiting = rooms.visit([stub], look);
    if (visiting !== undefined) await visiting;
    const turn = loopYield.after(looked);
    looked = 0;
    if (turn !== undefined) await turn;
  }
  return found;
};
