/** Types of room events that several parts of the server act on. Client-Server API, "Room events". */
export const CANONICAL_ALIAS = 'm.room.canonical_alias';
export const CREATE = 'm.room.create';
export const ENCRYPTION = 'm.room.encryption';
export const GUEST_ACCESS = 'm.room.guest_access';
export const HISTORY_VISIBILITY = 'm.room.history_visibility';
export const MEMBER = 'm.room.member';
export const MESSAGE = 'm.room.message';
export const POWER_LEVELS = 'm.room.power_levels';
export const REDACTION = 'm.room.redaction';
export const THIRD_PARTY_INVITE = 'm.room.third_party_invite';
export const TOMBSTONE = 'm.room.tombstone';
