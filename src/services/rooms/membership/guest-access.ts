import { removeGuests } from '#src/jobs/definitions.ts';
import { requestJob } from '#src/jobs/job-definition.ts';
import type { Logger } from '#src/kernel/logger.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { FollowUp } from '#src/services/events/building/follow-ups.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Database } from '#src/storage/database.ts';
import { guestsAmong } from '#src/storage/accounts/guests.ts';
import { guestsMayJoin } from '#src/protocol/content/guest-access.ts';
import { GUEST_ACCESS } from '#src/protocol/events/event-types.ts';
import { letsGuestsIn } from './guest-rules.ts';
import type { MembershipService } from './membership-service.ts';

/** The job that removes guests from a room that no longer allows them. */
export const guestsFollowUp: FollowUp = ({ room, state }) =>
  state.some(
    ({ content, stateKey, type }) =>
      type === GUEST_ACCESS && stateKey === '' && !guestsMayJoin(content['guest_access']),
  )
    ? [requestJob(removeGuests, { room: room.nid })]
    : [];

export interface GuestAccessOptions {
  readonly database: Database;
  readonly rooms: RoomRegistry;
  readonly membership: MembershipService;
  readonly logger: Logger;
}

/**
 * Removes guests from rooms that no longer allow them: "If the m.room.guest_access event is changed to stop this from being
 * the case, the server MUST set those users' m.room.member state to leave." Client-Server API, "Guest Access".
 */
export class GuestAccess {
  readonly #options: GuestAccessOptions;

  constructor(options: GuestAccessOptions) {
    this.#options = options;
  }

  /** @returns false when it was broken off because of the signal */
  async removeGuests(roomNid: number, signal: AbortSignal): Promise<boolean> {
    const { database, membership, logger, rooms } = this.#options;
    const room = await rooms.byNid(roomNid);
    const members = [...(room?.members.values() ?? [])].filter(({ local, membership: is }) => local && is === 'join');
    if (room === undefined || members.length === 0) return true;
    const guests = await guestsAmong(
      database,
      members.map((member) => member.userId),
    );
    for (const userId of guests) {
      // They may have been let in again in the meantime.
      if (letsGuestsIn(room)) return true;
      if (signal.aborted) return false;
      try {
        await membership.leave(userId, room.roomId, undefined, 'server');
      } catch (err) {
        if (!(err instanceof MatrixError)) throw err;
        logger.warn('a guest could not leave a room', { user_id: userId, room_id: room.roomId, err });
      }
    }
    return true;
  }
}
