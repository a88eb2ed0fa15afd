import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { guestsMayJoin } from '#src/protocol/content/guest-access.ts';
import { GUEST_ACCESS } from '#src/protocol/events/event-types.ts';

/** Whether guests may be in a room. */
export const letsGuestsIn = (room: Room): boolean => guestsMayJoin(room.stateText(GUEST_ACCESS, 'guest_access'));

/** @throws MatrixError M_GUEST_ACCESS_FORBIDDEN */
export const assertGuestsMayJoin = (room: Room): void => {
  if (!letsGuestsIn(room)) throw guestAccessForbidden();
};

export const guestAccessForbidden = (): MatrixError =>
  new MatrixError('M_GUEST_ACCESS_FORBIDDEN', 'This room does not let guests in: register an account first.');

/**
 * For drafts of a guest's member events: a guest who joins while the room stops to let guests in is refused, because the job that
 * removes guests then may have looked for them already. Undefined for users who are no guests.
 */
export const guestRecheck = (actor: { readonly userId: string; readonly isGuest?: boolean | undefined }) =>
  actor.isGuest === true
    ? (room: Room): void => {
        const rule = room.headState(GUEST_ACCESS, '')?.event?.content['guest_access'];
        if (!guestsMayJoin(rule) && room.headMembership(actor.userId) !== 'join') throw guestAccessForbidden();
      }
    : undefined;
