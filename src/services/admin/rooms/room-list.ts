import type { EventFollower } from '#src/services/events/stream/event-follower.ts';
import type { PartialState } from '#src/services/room-model/room/partial-state.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { overviewOf } from '#src/services/rooms/directory/room-overviews.ts';
import { successorIn } from '#src/protocol/content/tombstone.ts';
import { TOMBSTONE } from '#src/protocol/events/event-types.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { Database } from '#src/storage/database.ts';
import { countLocalDevices } from '#src/storage/rooms/room-devices.ts';
import {
  countRooms,
  type ListedRoomRecord,
  listRooms,
  type RoomListFilter,
  type RoomOrder,
} from '#src/storage/rooms/room-overviews.ts';

export type { RoomOrder } from '#src/storage/rooms/room-overviews.ts';
/** A room of the list. */
export type ListedRoom = ListedRoomRecord;

/** Most rooms of one page. */
export const MAX_LISTED = 1_000;
/** For how long a list waits for what was committed just now, in milliseconds. */
const MAX_WAIT_MS = 1_000;
/** Orders that begin with the largest. */
const LARGEST_FIRST: ReadonlySet<RoomOrder> = new Set([
  'joined_members',
  'joined_local_members',
  'version',
  'state_events',
]);

export interface RoomListQuery extends RoomListFilter {
  readonly order: RoomOrder;
  /** Against the usual order. */
  readonly isReversed: boolean;
  readonly offset: number;
  readonly limit: number;
}

export interface RoomListPage {
  readonly rooms: readonly ListedRoom[];
  /** How many rooms the whole list has. */
  readonly total: number;
  /** Offsets of the pages before and after this one. */
  readonly next: number | undefined;
  readonly previous: number | undefined;
}

/** The details of one room, beyond what the list has. */
export interface RoomDetails extends ListedRoom {
  readonly avatar: string | null;
  readonly topic: string | null;
  /** Devices of users of this server who are in it. */
  readonly localDevices: number;
  /** Whether all users of this server who were in it have forgotten it. */
  readonly isForgotten: boolean;
  readonly isTombstoned: boolean;
  readonly replacement: string | null;
  /** What is known of the rest of a partial state; null where the state is whole. */
  readonly partial: { readonly via: string; readonly failure: PartialState['failure'] } | null;
}

export interface RoomListOptions {
  readonly database: Database;
  readonly rooms: RoomRegistry;
  readonly follower: Pick<EventFollower, 'reached'>;
}

/** The rooms that this server has, for administrators. */
export class RoomList {
  readonly #options: RoomListOptions;

  constructor(options: RoomListOptions) {
    this.#options = options;
  }

  /** A page of the rooms. */
  async page(query: RoomListQuery): Promise<RoomListPage> {
    const { database, follower } = this.#options;
    const { offset, order } = query;
    await follower.reached(MAX_WAIT_MS);
    const limit = Math.min(query.limit, MAX_LISTED);
    const isDescending = LARGEST_FIRST.has(order) !== query.isReversed;
    const [rooms, total] = await Promise.all([
      listRooms(database, { ...query, isDescending, limit }),
      countRooms(database, query),
    ]);
    return {
      rooms,
      total,
      // An empty page has no next one: it is asked for the sake of the count.
      next: limit > 0 && offset + limit < total ? offset + limit : undefined,
      previous: offset > 0 ? Math.max(offset - limit, 0) : undefined,
    };
  }

  /** One room, as it is now. @throws MatrixError M_NOT_FOUND */
  async details(roomId: string): Promise<RoomDetails> {
    const { database } = this.#options;
    const room = await this.room(roomId);
    const tombstone = room.stateEvent(TOMBSTONE);
    return {
      ...overviewOf(room),
      roomId,
      version: room.version.id,
      creator: room.stateEvent('m.room.create')?.sender ?? '',
      isPublic: room.isPublic,
      roomType: room.roomType ?? null,
      avatar: room.stateText('m.room.avatar', 'url') ?? null,
      topic: room.stateText('m.room.topic', 'topic') ?? null,
      localDevices: await countLocalDevices(database, room.nid),
      isForgotten: ![...room.members.values()].some(({ forgotten, local }) => local && !forgotten),
      isTombstoned: tombstone !== undefined,
      replacement: successorIn(tombstone?.content) ?? null,
      partial: room.partial === undefined ? null : { via: room.partial.via, failure: room.partial.failure },
    };
  }

  /** Who is in a room. @throws MatrixError M_NOT_FOUND */
  async members(roomId: string): Promise<string[]> {
    const { members } = await this.room(roomId);
    return [...members.values()].flatMap(({ membership, userId }) => (membership === 'join' ? userId : []));
  }

  /** A room that this server has. @throws MatrixError M_NOT_FOUND */
  async room(roomId: string): Promise<Room> {
    const room = await this.#options.rooms.byId(roomId);
    if (room === undefined) throw new MatrixError('M_NOT_FOUND', 'Room not found.');
    return room;
  }
}
