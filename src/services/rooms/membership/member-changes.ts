/** What can be done with a membership, each of them by a member event. Client-Server API, "Room membership". */
export const MEMBER_CHANGES = ['join', 'invite', 'knock', 'leave', 'kick', 'ban', 'unban', 'profile'] as const;

/**
 * One of them: `leave` is one's own, also the rejection of an invite and the end of a knock; `kick` is another user's, also the end of their invite
 * or knock; `profile` is another name or picture of a user who is in the room.
 */
export type MemberChange = (typeof MEMBER_CHANGES)[number];
