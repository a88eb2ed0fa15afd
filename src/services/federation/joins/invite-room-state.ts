import { STRIPPED_STATE_TYPES, strippedState, type StrippedStateEvent } from '#src/protocol/events/stripped-state.ts';
import { fitsBytes } from '#src/protocol/identifiers/byte-length.ts';
import { isUserId } from '#src/protocol/identifiers/identifiers.ts';
import { canonicalJson } from '#src/protocol/json/canonical-json.ts';
import { isJsonObject, isWellFormedJson, type JsonObject, type JsonValue } from '#src/protocol/json/json-value.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';

/** Events of stripped state that are kept, and bytes of all of them together. */
const MAX_EVENTS = 100;
const MAX_BYTES = 32_768;

/**
 * The stripped state that another server sends with an invite or a knock, as clients get it. What is no state event, or too much, is left
 * out. Client-Server API, "Stripped state".
 */
export const receivedRoomState = (
  state: JsonValue | undefined,
  version: RoomVersion,
): readonly StrippedStateEvent[] => {
  if (!Array.isArray(state)) return [];
  const told: StrippedStateEvent[] = [];
  let left = MAX_BYTES;
  for (const one of state.slice(0, MAX_EVENTS)) {
    const event = stripped(one, version);
    const size = event === undefined ? 0 : sizeOf(event);
    if (event === undefined || size > left) continue;
    left -= size;
    told.push(event);
  }
  return told;
};

const stripped = (one: JsonValue, version: RoomVersion): StrippedStateEvent | undefined => {
  if (!isJsonObject(one)) return undefined;
  const { content, origin_server_ts: ts, sender, state_key: stateKey, type } = one;
  if (typeof type !== 'string' || !fitsBytes(type) || typeof stateKey !== 'string' || !fitsBytes(stateKey))
    return undefined;
  if (!isUserId(sender) || !isJsonObject(content) || !isWellFormedJson([type, stateKey, content])) return undefined;
  const event = { type, sender, content, state_key: stateKey };
  return strippedState(Number.isSafeInteger(ts) ? { ...event, origin_server_ts: ts as number } : event, version);
};

/** Infinity for what cannot be written. */
const sizeOf = (event: StrippedStateEvent): number => {
  try {
    return Buffer.byteLength(canonicalJson(event, 'lenient'));
  } catch {
    return Infinity;
  }
};

/**
 * The state that this server sends to the server of a user who is invited, or knocks: whole PDUs, so that it can be verified. Server-Server
 * API, `invite_room_state`, `knock_room_state`.
 *
 * @param member the inviter's member event, which is added
 */
export const sentRoomState = (room: Room, member: StoredEvent | undefined): readonly JsonObject[] => {
  const events = STRIPPED_STATE_TYPES.flatMap((type) => room.stateEvent(type) ?? []);
  return [...events, ...(member === undefined ? [] : [member])].map(({ pdu }) => {
    const { unsigned: _unsigned, ...rest } = pdu;
    return rest;
  });
};
