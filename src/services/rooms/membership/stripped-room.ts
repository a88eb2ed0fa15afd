import { STRIPPED_STATE_TYPES, strippedState, type StrippedStateEvent } from '#src/protocol/events/stripped-state.ts';
import { isJsonObject } from '#src/protocol/json/json-value.ts';
import type { Pdu } from '#src/protocol/events/pdu.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { EventVisibility } from '#src/services/reading/visibility/event-visibility.ts';
import type { Room } from '#src/services/room-model/room/room.ts';

const CREATE = 'm.room.create';
/** Characters of an event that is told of a room to those who are not in it: others say how many rooms those are. */
const MAX_EVENT_LENGTH = 8_192;

/** Under which name an event that came from another server carries what that server tells of the room. Client-Server API, `UnsignedData`. */
export const toldStateKey = (membership: 'invite' | 'knock'): string => `${membership}_room_state`;

/** What the server that made an invite, or passed a knock on, told of the room; undefined for events that were made in the room. */
const toldBy = ({ content, unsigned }: Pdu): readonly StrippedStateEvent[] | undefined => {
  const { membership } = content;
  if (membership !== 'invite' && membership !== 'knock') return undefined;
  const told = unsigned?.[toldStateKey(membership)];
  return Array.isArray(told) ? told.filter((one): one is StrippedStateEvent => isJsonObject(one)) : undefined;
};

/**
 * What a user who is invited or knocks is told of a room: its stripped state, their own member event, and that of who invited them.
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
  const told = ownEvent === undefined ? undefined : toldBy(ownEvent.pdu);
  if (ownEvent !== undefined && told !== undefined) {
    const others = told.filter(({ type, state_key: key }) => type !== ownEvent.type || key !== ownEvent.stateKey);
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
