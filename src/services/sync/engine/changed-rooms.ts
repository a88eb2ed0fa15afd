import { covers, type PositionVector } from '#src/protocol/wire/position.ts';
import type { RoomStub } from '#src/services/room-model/room/room-stub.ts';
import type { SyncUser } from './sync-user.ts';

/** The rooms that a user is in, and in which something happened after a position. */
export const changedSince = function* (user: SyncUser, since: PositionVector): Iterable<RoomStub> {
  for (const stub of user.joined.values()) if (!covers(since, stub.lastPosition)) yield stub;
};
