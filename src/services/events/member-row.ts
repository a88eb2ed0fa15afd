import { type Member, membershipCode } from '#src/services/rooms/membership.ts';
import type { Room } from '#src/services/rooms/room.ts';
import type { MemberRow } from '#src/storage/repositories/event-rows.ts';

/** A membership as it is written. */
export const memberRow = (room: Room, member: Member): MemberRow => ({
  room: room.nid,
  user: member.user,
  membership: membershipCode(member.membership),
  event: member.event,
  since: member.since,
  local: member.local,
});
