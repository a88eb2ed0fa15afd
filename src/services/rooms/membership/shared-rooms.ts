import type { Database } from '#src/storage/database.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import { shareRoom } from '#src/storage/room-model/joined-rooms.ts';

/** Which users meet in rooms. */
export class SharedRooms {
  readonly #database: Database;
  readonly #interner: Interner;

  constructor(database: Database, interner: Interner) {
    this.#database = database;
    this.#interner = interner;
  }

  /** Whether two users are joined to a common room. */
  async sharesRoom(one: string, other: string): Promise<boolean> {
    if (one === other) return true;
    await this.#interner.ensureUsers([one, other]);
    return shareRoom(this.#database, this.#interner.user(one), this.#interner.user(other));
  }
}
