import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { Database } from '#src/storage/database.ts';
import { blockedRooms, goneRooms } from '#src/storage/rooms/closed-rooms.ts';

/**
 * The rooms that users of this server cannot join: administrators blocked them, or they are being deleted. Members stay in a blocked room.
 * Few, so that all of them are in memory: joins ask nothing for it.
 */
export class ClosedRooms {
  readonly #database: Database;
  /** Room id -> who blocked it. */
  readonly #blocked = new Map<string, string>();
  readonly #gone = new Set<string>();

  constructor(database: Database) {
    this.#database = database;
  }

  /** Reads them. To be called before the first request. */
  async start(): Promise<void> {
    for (const { roomId, userId } of await blockedRooms(this.#database)) this.#blocked.set(roomId, userId);
    for (const roomId of await goneRooms(this.#database)) this.#gone.add(roomId);
  }

  /** Who blocked a room; undefined where it is not blocked. */
  blockedBy(roomId: string): string | undefined {
    return this.#blocked.get(roomId);
  }

  /** Whether a room is being deleted. */
  isGoing(roomId: string): boolean {
    return this.#gone.has(roomId);
  }

  /** @throws MatrixError M_FORBIDDEN for a room that is blocked or being deleted */
  assertOpen(roomId: string): void {
    if (this.#blocked.has(roomId)) throw new MatrixError('M_FORBIDDEN', 'This room has been blocked on this server.');
    if (this.#gone.has(roomId))
      throw new MatrixError('M_FORBIDDEN', 'This room is being deleted from this server. Try again later.');
  }

  /** Says that a room was blocked, or is not any more (undefined), after the commit. */
  blocked(roomId: string, userId: string | undefined): void {
    if (userId === undefined) this.#blocked.delete(roomId);
    else if (!this.#blocked.has(roomId)) this.#blocked.set(roomId, userId);
  }

  /** Says that a room is being deleted, or that nothing is left of it. */
  going(roomId: string, isGoing: boolean): void {
    if (isGoing) this.#gone.add(roomId);
    else this.#gone.delete(roomId);
  }
}
