import { STRIPPED_STATE_TYPES, strippedState, type StrippedStateEvent } from '#src/protocol/events/stripped-state.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { EventVisibility } from '#src/services/reading/visibility/event-visibility.ts';
import type { Room } from '#src/services/room-model/room/room.ts';

/**
 * What a user who is invited or knocks is told of a room: its stripped state, their own member event, and that of who invited them.
 * Client-Server API, "Stripped state".
 */
export const strippedStateFor = async (
  loader: EventLoader,
  visibility: EventVisibility,
  room: Room,
  userId: string,
): Promise<StrippedStateEvent[]> => {
  const state = STRIPPED_STATE_TYPES.map((type) => room.stateEvent(type)).filter((event) => event !== undefined);
  const own = room.member(userId);
  const ownEvent = own === undefined ? undefined : await loader.one(room, own.event);
  const inviter = ownEvent === undefined || ownEvent.sender === userId ? undefined : room.member(ownEvent.sender);
  const inviterEvent = inviter === undefined ? undefined : await loader.one(room, inviter.event);
  const members = [inviterEvent, ownEvent].filter((event) => event !== undefined);
  const told = await visibility.asState(room, userId, [...state, ...members]);
  return told.map(({ event }) => strippedState(event.pdu, room.version));
};
