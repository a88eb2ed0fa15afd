import { STRIPPED_STATE_TYPES, strippedState, type StrippedStateEvent } from '#src/protocol/events/stripped-state.ts';
import { isJsonObject } from '#src/protocol/json/json-value.ts';
import type { Pdu } from '#src/protocol/events/pdu.ts';
import { CREATE } from '#src/protocol/events/event-types.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { EventVisibility } from '#src/services/reading/visibility/event-visibility.ts';
import type { Room } from '#src/services/room-model/room/room.ts';

/** Characters of an event of stripped state. Other servers can send any number of invites, so each has to be small. */
const MAX_EVENT_LENGTH = 8_192;

/** Under which name an event that came from another server carries what that server tells of the room. Client-Server API, `UnsignedData`. */
export const receivedRoomStateKey = (membership: 'invite' | 'knock'): string => `${membership}_room_state`;

/** The stripped state that came with an invite or knock from another server; undefined for events of rooms that this server is in. */
const strippedStateOf = ({ content, unsigned }: Pdu): readonly StrippedStateEvent[] | undefined => {
  const { membership } = content;
  if (membership !== 'invite' && membership !== 'knock') return undefined;
  const received = unsigned?.[receivedRoomStateKey(membership)];
  return Array.isArray(received) ? received.filter((one): one is StrippedStateEvent => isJsonObject(one)) : undefined;
};

/**
 * What a user who is invited or knocks sees of a room: its stripped state, their own member event, and that of the inviter.
 * Of a room that this server is not in, the server that is told it. Client-Server API, "Stripped state".
 */
export const strippedStateFor = async (
  loader: EventLoader,
  visibility: EventVisibility,
  room: Room,
  userId: string,
): Promise<StrippedStateEvent[]> => {
  const own = room.member(userId);
  const ownEvent = own === undefined ? undefined : await loader.one(room, own.event);
  const received = ownEvent === undefined ? undefined : strippedStateOf(ownEvent.pdu);
  if (ownEvent !== undefined && received !== undefined) {
    const others = received.filter(({ type, state_key: key }) => type !== ownEvent.type || key !== ownEvent.stateKey);
    return [...others, strippedState(ownEvent.pdu, room.version)];
  }
  const state = STRIPPED_STATE_TYPES.flatMap((type) => {
    const event = room.stateEvent(type);
    return event === undefined || (type !== CREATE && event.json.length > MAX_EVENT_LENGTH) ? [] : [event];
  });
  const inviter = ownEvent === undefined || ownEvent.sender === userId ? undefined : room.member(ownEvent.sender);
  const inviterEvent = inviter === undefined ? undefined : await loader.one(room, inviter.event);
  const members = [inviterEvent, ownEvent].filter((event) => event !== undefined);
  const visible = await visibility.asState(room, userId, [...state, ...members]);
  return visible.map(({ event }) => strippedState(event.pdu, room.version));
};
