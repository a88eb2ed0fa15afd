import type { Logger } from '#src/kernel/logger.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { Account } from '#src/services/accounts/users/user-service.ts';
import type { Database } from '#src/storage/database.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import { roomIdsToLeave } from '#src/storage/room-model/joined-rooms.ts';

/** Keeps something of users that ends with their account. */
export interface KeptOfUsers {
  /** Names it in the log. */
  readonly what: string;
  /** Does away with it. It may be asked to again. */
  readonly end: (userId: string) => Promise<void>;
}

export interface DeactivationOptions {
  readonly database: Database;
  readonly interner: Interner;
  readonly users: { account(userId: string): Promise<Account | undefined> };
  readonly membership: { leave(userId: string, roomId: string): Promise<void> };
  /** What ends with every account. */
  readonly ending: readonly KeptOfUsers[];
  /** What is erased beside that when the user wants "their content to be erased as much as possible". */
  readonly erased: readonly KeptOfUsers[];
  readonly logger: Logger;
}

/**
 * Does all that the end of an account brings with it. The account itself, its devices and sessions are gone by then, in the commit that
 * made this a job; here it may be broken off anywhere and begun anew. Client-Server API, "Account deactivation".
 *
 * Events stay: those of erased users are shown in their redacted form to whoever was not in the room then (`ErasedSenders`).
 */
export class Deactivation {
  readonly #options: DeactivationOptions;

  constructor(options: DeactivationOptions) {
    this.#options = options;
  }

  /** @returns false when it was broken off because of the signal */
  async finish(userId: string, signal: AbortSignal): Promise<boolean> {
    const { users, ending, erased } = this.#options;
    const account = await users.account(userId);
    if (account?.deactivated !== true) return true;
    for (const { end } of ending) {
      if (signal.aborted) return false;
      await end(userId);
    }
    if (!(await this.#leaveRooms(userId, signal))) return false;
    // After the rooms: leaving them may note something of the user.
    if (account.erased)
      for (const { end } of erased) {
        if (signal.aborted) return false;
        await end(userId);
      }
    return true;
  }

  /** Leaves rooms, rejects invites, takes back knocks. */
  async #leaveRooms(userId: string, signal: AbortSignal): Promise<boolean> {
    const { database, interner, logger, membership } = this.#options;
    const failures: unknown[] = [];
    for (const roomId of await roomIdsToLeave(database, await interner.userNid(userId))) {
      if (signal.aborted) return false;
      try {
        await membership.leave(userId, roomId);
      } catch (err) {
        // One room that cannot be left must not keep them in the others.
        logger.warn('a deactivated user could not leave a room', { user_id: userId, room_id: roomId, err });
        if (!(err instanceof MatrixError) || err.status >= 500 || err.status === 429) failures.push(err);
      }
    }
    if (failures.length > 0) throw new AggregateError(failures, 'a deactivated user is still in rooms');
    return true;
  }
}
