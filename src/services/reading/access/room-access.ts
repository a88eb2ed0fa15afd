import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { HISTORY_VISIBILITY } from '#src/protocol/events/event-types.ts';
import { parseHistoryVisibility } from '#src/protocol/visibility/history-visibility.ts';
import type { StateChain } from '#src/services/room-model/state/state-chain.ts';
import type { StateStore } from '#src/services/room-model/state/state-store.ts';
import type { MembershipPast } from '#src/services/reading/visibility/membership-past.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';

/** How much of a room a user may read. */
export interface RoomView {
  readonly room: Room;
  /** Position up to which they may read. */
  readonly upTo: number;
  /** The state that they are shown. */
  readonly state: StateChain;
  /** Whether `state` is the current one. */
  readonly isCurrent: boolean;
}

/** The answer for a room that the user is not in, which does not tell whether it exists. */
export const notInRoom = (): MatrixError =>
  new MatrixError('M_FORBIDDEN', 'You are not in this room, or it does not exist.');

/** Decides which users may read a room, and up to where. Single events are judged by `EventVisibility`. */
export class RoomAccess {
  readonly #rooms: RoomRegistry;
  readonly #loader: EventLoader;
  readonly #states: StateStore;
  readonly #past: MembershipPast;

  constructor(options: {
    readonly rooms: RoomRegistry;
    readonly loader: EventLoader;
    readonly states: StateStore;
    readonly past: MembershipPast;
  }) {
    this.#rooms = options.rooms;
    this.#loader = options.loader;
    this.#states = options.states;
    this.#past = options.past;
  }

  /**
   * A room in which the requester wants to do something.
   *
   * @throws MatrixError M_FORBIDDEN when it is not known: the answer does not tell whether it exists
   */
  async known(roomId: string): Promise<Room> {
    const room = this.#rooms.peekById(roomId) ?? (await this.#rooms.byId(roomId));
    if (room === undefined) throw notInRoom();
    return room;
  }

  /** @throws MatrixError M_FORBIDDEN unless the user is in the room */
  async joined(roomId: string, userId: string): Promise<Room> {
    const room = await this.known(roomId);
    if (!room.isJoined(userId)) throw notInRoom();
    return room;
  }

  /**
   * What a user may read of a room: members everything, those who left what was there when they did (unless they forgot it),
   * every user (guests too) what is world-readable now.
   *
   * @throws MatrixError M_FORBIDDEN
   */
  async reading(roomId: string, userId: string): Promise<RoomView> {
    const room = await this.known(roomId);
    const current = { room, upTo: room.lastPosition, state: room.stateChain, isCurrent: true };
    const member = room.member(userId);
    if (member?.membership === 'join') return current;
    if (member !== undefined && !member.forgotten) {
      const until = await this.#past.joinedUntil(room, member);
      const leave = until === 0 ? undefined : await this.#loader.one(room, until);
      if (leave !== undefined) {
        return { room, upTo: leave.nid, state: await this.#states.get(leave.stateAfter), isCurrent: false };
      }
    }
    if (isWorldReadable(room)) return current;
    throw notInRoom();
  }
}

export const isWorldReadable = (room: Room): boolean =>
  parseHistoryVisibility(room.stateEvent(HISTORY_VISIBILITY)?.content) === 'world_readable';
