import { type Member, membershipCode } from './membership.ts';
import type { Room } from './room.ts';
import type { MemberRow } from '#src/storage/events/event-rows.ts';

/** A membership as it is written. */
export const memberRow = (room: Room, member: Member): MemberRow => ({
  room: room.nid,
  user: member.user,
  membership: membershipCode(member.membership),
  event: member.event,
  since: member.since,
  local: member.local,
});
