/** The kinds of member events, by what they do with a membership. Client-Server API, "Room membership". */
export const MEMBER_EVENT_KINDS = ['join', 'invite', 'knock', 'leave', 'kick', 'ban', 'unban', 'profile'] as const;

/**
 * One of them: `leave` is one's own, also the rejection of an invite and the end of a knock; `kick` is another user's, also the end of their invite
 * or knock; `profile` is another name or picture of a user who is in the room.
 */
export type MemberEventKind = (typeof MEMBER_EVENT_KINDS)[number];
