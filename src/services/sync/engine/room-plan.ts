import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Member } from '#src/services/room-model/room/membership.ts';
import type { RoomStub } from '#src/services/room-model/room/room-stub.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { StateChain } from '#src/services/room-model/state/state-chain.ts';

/** A room of a response, as it was when the response was planned. */
export interface RoomPlan {
  readonly room: Room;
  readonly member: Member;
  readonly section: 'join' | 'leave' | 'invite' | 'knock';
  /** The client knows nothing of the room, or wants all of its state. */
  readonly isFull: boolean;
  /** Joined since the client's position, which did not know the user as joined: the client has no timeline that this one could continue. */
  readonly isNew: boolean;
  /** The timeline begins after this position; 0 when the client knows nothing of the room. */
  readonly after: number;
  readonly upTo: number;
  /** The state at `upTo`. */
  readonly end: StateChain;
  /** Show nothing but the user's own leave. */
  readonly onlyLeave: boolean;
  /** The leave, where it is no part of the room's history: an invite to another server's room was declined, or taken back. */
  readonly outOfBand?: StoredEvent | undefined;
}

/** A room of a response that is not in memory: it is read when its turn comes. */
export interface UnreadRoomPlan extends Omit<RoomPlan, 'room' | 'end'> {
  readonly room: RoomStub;
  readonly end: undefined;
}

export type PlannedRoom = RoomPlan | UnreadRoomPlan;

/** The same plan, to be read again when its turn comes. */
export const asUnread = (plan: RoomPlan): UnreadRoomPlan => ({ ...plan, room: plan.room.stub, end: undefined });

export const isInMemory = (plan: PlannedRoom): plan is RoomPlan => plan.end !== undefined;

/** Whether the members of the room became known in this stretch (the end of a partial join). */
export const isCompleted = ({ room, after, upTo }: Pick<RoomPlan, 'room' | 'after' | 'upTo'>): boolean =>
  room.fullSince > after && room.fullSince <= upTo;
