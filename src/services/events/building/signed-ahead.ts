import type { BuiltPdu } from '#src/protocol/events/build-pdu.ts';
import { MAX_EXTREMITIES, type RoomHead } from '#src/services/room-model/room/building-head.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';

/** What events are built on: their prev events, the state, and the time. */
export interface EventBasis {
  readonly head: RoomHead;
  readonly depth: number;
  readonly generation: number;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/** Events that are to be completed with the signature of another server before they are written. */
export interface PlannedEvents {
  readonly basis: EventBasis;
  /** One built on the other. */
  readonly events: readonly BuiltPdu[];
}

export const basisOf = (room: Room, now: number): EventBasis => ({
  head: room.head,
  depth: room.headDepth,
  generation: room.generation,
  now,
});

/** The forward extremities that a room has got since then. */
export const newcomers = (now: RoomHead, { head }: EventBasis): readonly StoredEvent[] =>
  now.extremities.filter((event) => !head.extremities.includes(event));

/**
 * Whether events can still be built on it: nothing of it was rolled back, and the state that authorised them has not changed. Other events
 * may have come, as long as the room does not get too many forward extremities.
 */
export const isStill = (room: Room, basis: EventBasis): boolean =>
  room.generation === basis.generation &&
  room.head.chain.nid === basis.head.chain.nid &&
  newcomers(room.head, basis).length < MAX_EXTREMITIES;
