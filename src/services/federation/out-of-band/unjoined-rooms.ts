import type { Clock } from '#src/kernel/clock.ts';
import { SerialByKey } from '#src/kernel/concurrency/serial.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import { shardOfName } from '#src/protocol/wire/position.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { Database } from '#src/storage/database.ts';
import { addUnjoinedRoom } from '#src/storage/federation/unjoined-rooms.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';

/** What is known of a remote room. */
export interface UnjoinedRoom {
  readonly roomId: string;
  readonly version: RoomVersion;
  /** Its creator, or, where that is not known, any member. */
  readonly creator: string;
  readonly roomType: unknown;
}

export interface UnjoinedRoomsOptions {
  readonly database: Database;
  readonly interner: Interner;
  readonly rooms: RoomRegistry;
  readonly clock: Clock;
}

/** Creates the row of a remote room, before anything of it can be stored. */
export class UnjoinedRooms {
  readonly #options: UnjoinedRoomsOptions;
  readonly #appearing = new SerialByKey<string>();

  constructor(options: UnjoinedRoomsOptions) {
    this.#options = options;
  }

  /** The room; created when it is unknown. */
  ensure({ roomId, version, creator, roomType }: UnjoinedRoom): Promise<Room> {
    const { clock, database, interner, rooms } = this.#options;
    return this.#appearing.run(roomId, async () => {
      const known = await rooms.heardOf(roomId);
      if (known !== undefined) return known;
      await addUnjoinedRoom(database, {
        roomId,
        version: version.id,
        shard: shardOfName(roomId),
        creator: await interner.userNid(creator),
        roomType: roomTypeOf(roomType),
        createdTs: clock.now(),
      });
      rooms.appeared(roomId);
      const room = await rooms.heardOf(roomId);
      if (room === undefined) throw new Error(`the room ${roomId} was stored but is not there`);
      return room;
    });
  }
}

/** The type that an m.room.create names, as it can be stored. */
export const roomTypeOf = (type: unknown): string | null =>
  typeof type === 'string' && !type.includes('\0') && type.isWellFormed() ? type : null;
