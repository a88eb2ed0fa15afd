import type { Logger } from '#src/kernel/logger.ts';
import type { RoomEventStream } from '#src/services/events/stream/room-event-stream.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { Database } from '#src/storage/database.ts';
import { guestsAmong, roomsOfGuests } from '#src/storage/accounts/guests.ts';
import { GUEST_ACCESS, letsGuestsIn } from './guest-rules.ts';
import type { MembershipService } from './membership-service.ts';

export interface GuestAccessOptions {
  readonly database: Database;
  readonly rooms: RoomRegistry;
  readonly stream: RoomEventStream;
  readonly membership: MembershipService;
  readonly logger: Logger;
}

/**
 * Takes guests out of rooms that do not let them in any more: "If the m.room.guest_access event is changed to stop this from being
 * the case, the server MUST set those users' m.room.member state to leave." Client-Server API, "Guest Access".
 */
export class GuestAccess {
  readonly #options: GuestAccessOptions;
  #running: Promise<void> = Promise.resolve();

  constructor(options: GuestAccessOptions) {
    this.#options = options;
    options.stream.on('appended', ({ room, events }) => {
      if (events.some(({ event }) => event.type === GUEST_ACCESS && event.stateKey === '') && !letsGuestsIn(room))
        this.#queue(() => this.#empty(room));
    });
  }

  /** Goes on where a process ended before all guests had left. */
  resume(): void {
    this.#queue(async () => {
      const { database, rooms } = this.#options;
      for (const nid of await roomsOfGuests(database)) {
        const room = (await rooms.load([nid])).get(nid);
        if (room !== undefined && !letsGuestsIn(room)) await this.#empty(room);
      }
    });
  }

  /** Resolves when every guest who has to leave has left. */
  idle(): Promise<void> {
    return this.#running;
  }

  #queue(work: () => Promise<void>): void {
    this.#running = this.#running.then(work).catch((err: unknown) => {
      this.#options.logger.error('guests are still in a room that does not let them in', { err });
    });
  }

  async #empty(room: Room): Promise<void> {
    const { database, membership, logger } = this.#options;
    const members = [...room.members.values()].filter((member) => member.local && member.membership === 'join');
    if (members.length === 0) return;
    const guests = await guestsAmong(
      database,
      members.map((member) => member.userId),
    );
    for (const userId of guests) {
      // Somebody may have let them in again in the meantime.
      if (letsGuestsIn(room)) return;
      try {
        await membership.leave(userId, room.roomId);
      } catch (err) {
        logger.warn('a guest could not leave a room', { room_id: room.roomId, err });
      }
    }
  }
}
