import { Ongoing } from '#src/kernel/background.ts';
import type { Logger } from '#src/kernel/logger.ts';
import type { StickySource } from '#src/services/events/sticky/sticky-view.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';

export interface StickyPushesOptions {
  readonly sticky: StickySource;
  readonly isLocal: (userId: string) => boolean;
  /** Has events sent to a server that it was not in the room for. */
  readonly sendLate: (destination: string, events: readonly StoredEvent[]) => void;
  readonly logger: Logger;
}

/** Sends servers that come into a room the events of our users that are still sticky there. MSC4354. */
export class StickyPushes {
  readonly #options: StickyPushesOptions;
  readonly #ongoing = new Ongoing();

  constructor(options: StickyPushesOptions) {
    this.#options = options;
  }

  joined(room: Room, serverName: string): void {
    const { logger } = this.#options;
    this.#ongoing.add(
      undefined,
      this.#push(room, serverName).catch((err: unknown) =>
        logger.error('sticky events could not be sent to a server that joined', {
          room_id: room.roomId,
          destination: serverName,
          err,
        }),
      ),
    );
  }

  /** Resolves when what is sticky waits to be sent. */
  idle(): Promise<void> {
    return this.#ongoing.idle();
  }

  async #push(room: Room, serverName: string): Promise<void> {
    const { isLocal, sendLate, sticky } = this.#options;
    const view = (await sticky.forRooms([room])).get(room.nid);
    const own = view?.between(0, Infinity).filter(({ sender }) => isLocal(sender)) ?? [];
    if (own.length > 0) sendLate(serverName, own);
  }
}
