import type { Database } from '#src/storage/database.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import { shareRoom } from '#src/storage/room-model/joined-rooms.ts';

/** Finds out whether two users share a room. */
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
    const names = await this.#interner.find({ users: [one, other] });
    const [first, second] = [names.peekUser(one), names.peekUser(other)];
    return first !== undefined && second !== undefined && (await shareRoom(this.#database, first, second));
  }
}
