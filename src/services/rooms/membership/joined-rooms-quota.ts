import { LRUCache } from 'lru-cache';
import { atMost } from '#src/kernel/at-most.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { Database } from '#src/storage/database.ts';
import { countJoinedRooms } from '#src/storage/room-model/joined-rooms.ts';

const REMEMBERED_USERS = 20_000;

/** How many rooms a user may be in. Rooms are counted when a user first joins one, and again when that number may have been reached. */
export class JoinedRoomsQuota {
  readonly #database: Database;
  readonly #most: number;
  /** How many more rooms a user may join before they are counted again. */
  readonly #left = new LRUCache<string, { rooms: number }>(atMost(REMEMBERED_USERS));

  constructor(database: Database, most: number) {
    this.#database = database;
    this.#most = most;
  }

  /** Counts a join that is about to be made. @throws MatrixError M_TOO_LARGE when the user is in as many rooms as they may be */
  async take(userId: string): Promise<void> {
    let left = this.#left.get(userId);
    if (left === undefined || left.rooms <= 0) {
      left = { rooms: this.#most - (await countJoinedRooms(this.#database, userId)) };
      this.#left.set(userId, left);
    }
    if (left.rooms <= 0) {
      throw new MatrixError(
        'M_TOO_LARGE',
        `A user is in at most ${this.#most} rooms at once on this server. Leave some of them first.`,
      );
    }
    left.rooms -= 1;
  }
}
