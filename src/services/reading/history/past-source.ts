import type { Room } from '#src/services/room-model/room/room.ts';

/** Fetches history that is not stored here from other servers. */
export interface PastSource {
  /** Whether the stored history of a room has a gap. */
  isOpen(room: Room): Promise<boolean>;
  /**
   * Fetches what is missing before events of these depths, as far as that is possible in a time that a user waits.
   *
   * @param userId for whom: users take turns
   * @returns whether there is something that was not there before
   */
  fill(room: Room, range: { readonly from: number; readonly to: number }, userId: string): Promise<boolean>;
  /** Fetches one event of a room, with the state before it. @returns whether it is here then */
  find(room: Room, eventId: string): Promise<boolean>;
  /**
   * The event nearest to a time, as other servers know it, which is here then.
   *
   * @param ts milliseconds since the epoch
   */
  nearest(room: Room, ts: number, dir: 'f' | 'b'): Promise<string | undefined>;
}
