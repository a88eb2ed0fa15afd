import type { Timers } from '#src/kernel/timers.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { Room } from './room.ts';

/** Milliseconds for which a request waits for the rest of a room's state. */
export const MAX_MS = 60_000;

/** Makes requests that need all memberships of a room wait while its state is partial. */
export class WholeState {
  readonly #timers: Timers;

  constructor(timers: Timers) {
    this.#timers = timers;
  }

  /** Resolves when the full state of a room is known. @throws MatrixError M_UNKNOWN (503) when that takes too long */
  async of(room: Room): Promise<void> {
    if (await this.within(room, MAX_MS)) return;
    throw new MatrixError(
      'M_UNKNOWN',
      'This server does not know the full state of the room yet. Try again in a moment.',
      {},
      503,
    );
  }

  /** The same, where one membership is wanted: most are known soon. */
  async ofMember(room: Room, userId: string): Promise<void> {
    if (!room.knowsMember(userId)) await this.of(room);
  }

  /** @returns whether the full state is known within so many milliseconds */
  async within(room: Room, ms: number): Promise<boolean> {
    const full = room.whenFull();
    if (full === undefined) return true;
    const { promise: late, resolve } = Promise.withResolvers<void>();
    const timer = this.#timers.after(ms, resolve);
    await Promise.race([full, late]);
    timer.cancel();
    return room.whenFull() === undefined;
  }
}
