import type { Logger } from '#src/kernel/logger.ts';
import type { AccountService } from '#src/services/accounts/sessions/account-service.ts';
import type { ProfileService } from '#src/services/user-data/profiles/profile-service.ts';
import type { Database } from '#src/storage/database.ts';
import { deactivatedMembers, roomIdsToLeave } from '#src/storage/room-model/joined-rooms.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import type { MembershipService } from './membership-service.ts';

export interface FarewellsOptions {
  readonly database: Database;
  readonly interner: Interner;
  readonly accounts: AccountService;
  readonly membership: MembershipService;
  readonly profiles: ProfileService;
  readonly logger: Logger;
}

/** Takes users whose account was deactivated out of their rooms. Client-Server API, "Account deactivation". */
export class Farewells {
  readonly #options: FarewellsOptions;
  #running: Promise<void> = Promise.resolve();

  constructor(options: FarewellsOptions) {
    this.#options = options;
    options.accounts.onDeactivated(({ userId, erase }) => {
      this.#queue(() => this.#leaveAll(userId, erase));
    });
  }

  /** Goes on where a process ended before everybody had left. */
  resume(): void {
    this.#queue(async () => {
      for (const userId of await deactivatedMembers(this.#options.database)) await this.#leaveAll(userId, false);
    });
  }

  /** Resolves when everybody has left. */
  idle(): Promise<void> {
    return this.#running;
  }

  #queue(work: () => Promise<void>): void {
    this.#running = this.#running.then(work).catch((err: unknown) => {
      this.#options.logger.error('somebody whose account was deactivated is still in rooms', { err });
    });
  }

  async #leaveAll(userId: string, erase: boolean): Promise<void> {
    const { database, interner, logger, membership, profiles } = this.#options;
    for (const roomId of await roomIdsToLeave(database, await interner.userNid(userId))) {
      try {
        await membership.leave(userId, roomId);
      } catch (err) {
        // One room that cannot be left must not keep them in the others.
        logger.warn('a deactivated user could not leave a room', { room_id: roomId, err });
      }
    }
    if (erase) await profiles.clear(userId);
  }
}
