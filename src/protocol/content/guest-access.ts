/** Whether this `guest_access` lets guests into a room. Client-Server API, `m.room.guest_access`. */
export const guestsMayJoin = (guestAccess: unknown): boolean => guestAccess === 'can_join';
