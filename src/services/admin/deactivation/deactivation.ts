import type { Logger } from '#src/kernel/logger.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { Account } from '#src/services/accounts/users/user-service.ts';
import type { Database } from '#src/storage/database.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import { eraseUser } from '#src/storage/accounts/erasure.ts';
import { roomIdsToLeave } from '#src/storage/room-model/joined-rooms.ts';

/** A cache with entries by user, which are dropped when the user is erased. */
export interface CacheOfUsers {
  /** Forgets everything of a user: it is in the database no longer. */
  forget(userId: string): void;
}

export interface DeactivationOptions {
  readonly database: Database;
  readonly interner: Interner;
  readonly users: { account(userId: string): Promise<Account | undefined> };
  readonly membership: { leave(userId: string, roomId: string, reason: undefined, by: 'server'): Promise<void> };
  /** Removes a user's addresses, and the invites by address that they made. */
  readonly addresses: { release(userId: string): Promise<void> };
  /** Unbinds them from identity servers. */
  readonly binds: { release(userId: string): Promise<void> };
  readonly delayedEvents: { cancelAll(userId: string): Promise<void> };
  readonly presence: { leave(userId: string): Promise<void> };
  /** Releases what a user has uploaded. */
  readonly media: { releaseUser(userId: string, userNid: number, signal: AbortSignal): Promise<boolean> };
  readonly caches: readonly CacheOfUsers[];
  readonly logger: Logger;
}

/**
 * Does what follows from the deactivation of an account. The account itself, its devices and sessions were changed in the commit that
 * made this a job; the job may be interrupted anywhere and starts again. Client-Server API, "Account deactivation".
 *
 * Events stay: those of erased users are shown in their redacted form to users who were not in the room then (`EventVisibility`).
 */
export class Deactivation {
  readonly #options: DeactivationOptions;

  constructor(options: DeactivationOptions) {
    this.#options = options;
  }

  /** @returns false when interrupted by the signal */
  async finish(userId: string, signal: AbortSignal): Promise<boolean> {
    const { addresses, binds, caches, database, delayedEvents, interner, media, presence } = this.#options;
    const steps = [addresses, binds, { release: (id: string) => delayedEvents.cancelAll(id) }];
    for (const step of steps) {
      if (!(await this.#isOver(userId))) return true;
      await step.release(userId);
    }
    if (!(await this.#isOver(userId))) return true;
    await presence.leave(userId);
    if (!(await this.#leaveRooms(userId, signal))) return false;
    if ((await this.#options.users.account(userId))?.erased !== true) return true;
    const userNid = await interner.userNid(userId);
    if (!(await media.releaseUser(userId, userNid, signal))) return false;
    // After the rooms: leaving them may note something of the user.
    if (!(await database.write((tx) => eraseUser(tx, userId, userNid)))) return true;
    for (const cache of caches) cache.forget(userId);
    return true;
  }

  /** Whether the account is still deactivated: an administrator may have reactivated it, and what the user has from then on stays. */
  async #isOver(userId: string): Promise<boolean> {
    return (await this.#options.users.account(userId))?.deactivated === true;
  }

  /** Leaves rooms, rejects invites, takes back knocks. */
  async #leaveRooms(userId: string, signal: AbortSignal): Promise<boolean> {
    const { database, interner, logger, membership } = this.#options;
    const failures: unknown[] = [];
    for (const roomId of await roomIdsToLeave(database, await interner.userNid(userId))) {
      if (signal.aborted) return false;
      if (!(await this.#isOver(userId))) return true;
      try {
        await membership.leave(userId, roomId, undefined, 'server');
      } catch (err) {
        // A room that cannot be left does not stop the others.
        logger.warn('a deactivated user could not leave a room', { user_id: userId, room_id: roomId, err });
        if (!(err instanceof MatrixError) || err.status >= 500 || err.status === 429) failures.push(err);
      }
    }
    if (failures.length > 0) throw new AggregateError(failures, 'a deactivated user is still in rooms');
    return true;
  }
}
