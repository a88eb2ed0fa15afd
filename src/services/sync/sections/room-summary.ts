import type { Room } from '#src/services/room-model/room/room.ts';
import type { VisibleEvent } from '#src/services/reading/visibility/visible-event.ts';
import { isInOrInvited, type Membership } from '#src/services/room-model/room/membership.ts';

const HEROES = 5;

/** The first members of a room by stream ordering that match. */
const earliest = (room: Room, wanted: (membership: Membership) => boolean, userId: string): string[] => {
  const found: { readonly userId: string; readonly event: number }[] = [];
  for (const member of room.members.values()) {
    if (member.userId === userId || !wanted(member.membership)) continue;
    if (found.length === HEROES && member.event > (found.at(-1)?.event ?? 0)) continue;
    found.push(member);
    found.sort((a, b) => a.event - b.event);
    if (found.length > HEROES) found.pop();
  }
  return found.map((member) => member.userId);
};

/**
 * "This should be the first 5 members of the room, ordered by stream ordering, which are joined or invited. The list must never
 * include the client's own user ID. When no joined or invited members are available, this should consist of the banned and left
 * users." Client-Server API, "Syncing".
 */
export const heroesOf = (room: Room, userId: string): readonly string[] => {
  const present = earliest(room, isInOrInvited, userId);
  return present.length > 0
    ? present
    : earliest(room, (membership) => membership === 'leave' || membership === 'ban', userId);
};

/** Whether any of these events can change who is a member, or whether the room has a name of its own. */
export const summaryChanged = (events: readonly VisibleEvent[]): boolean =>
  events.some(
    ({ event }) =>
      event.type === 'm.room.member' || event.type === 'm.room.name' || event.type === 'm.room.canonical_alias',
  );
