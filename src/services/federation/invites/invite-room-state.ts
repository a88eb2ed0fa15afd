import { STRIPPED_STATE_TYPES, strippedState, type StrippedStateEvent } from '#src/protocol/events/stripped-state.ts';
import { createdRoomId, type IdentifiedPdu, roomIdOf } from '#src/protocol/events/pdu.ts';
import type { EventVerifier } from '#src/services/servers/keys/event-verifier.ts';
import { fitsBytes } from '#src/protocol/identifiers/byte-length.ts';
import { isUserId } from '#src/protocol/identifiers/identifiers.ts';
import { canonicalJson } from '#src/protocol/json/canonical-json.ts';
import { isJsonObject, isWellFormedJson, type JsonObject, type JsonValue } from '#src/protocol/json/json-value.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';

/** Full PDUs in `invite_room_state` that are verified, at most. */
export const MAX_VERIFIED = 20;
/** Events of stripped state that are kept, and bytes of all of them together. */
export const MAX_EVENTS = 100;
export const MAX_BYTES = 32_768;

/**
 * The stripped state that another server sends with an invite or a knock, as clients get it. What is no state event, or too much, is left
 * out. Client-Server API, "Stripped state".
 */
export const receivedRoomState = (
  state: JsonValue | undefined,
  version: RoomVersion,
): readonly StrippedStateEvent[] => {
  if (!Array.isArray(state)) return [];
  const events: StrippedStateEvent[] = [];
  let left = MAX_BYTES;
  for (const one of foremost(state)) {
    const event = stripped(one, version);
    const size = event === undefined ? 0 : sizeOf(event);
    if (event === undefined || size > left) continue;
    left -= size;
    events.push(event);
  }
  return events;
};

/** `invite_room_state` or `knock_room_state` of another server. */
export interface ReceivedRoomState {
  readonly version: RoomVersion;
  readonly roomId: string;
  readonly state: JsonValue | undefined;
  /** Whether whole events that are not valid are shown nevertheless. */
  readonly showsDoubtful: boolean;
}

/**
 * Verifies `invite_room_state` or `knock_room_state`. Full PDUs are shown redacted where their content hash
 * does not match. Stripped events, which older servers send, cannot be verified. Server-Server API, `invite_room_state`, `knock_room_state`.
 *
 * @returns what is shown of it, and what is wrong with it as the end of a sentence
 */
export const verifiedRoomState = async (
  verifier: Pick<EventVerifier, 'verify'>,
  { roomId, showsDoubtful, state, version }: ReceivedRoomState,
): Promise<{ readonly shown: readonly JsonValue[]; readonly fault: string | undefined }> => {
  const received = Array.isArray(state) ? foremost(state) : [];
  const whole = received.filter((event) => event['signatures'] !== undefined).slice(0, MAX_VERIFIED);
  const verdicts = await verifier.verify(version, whole);
  const valid = new Map<JsonObject, JsonObject>();
  const faults: string[] = [];
  for (const [index, one] of whole.entries()) {
    const verdict = verdicts[index];
    if (verdict?.ok !== true) faults.push(`has an event that is not valid: ${verdict?.reason ?? 'it is missing'}`);
    else if (roomOf(version, verdict.event) !== roomId) faults.push('has an event of another room');
    else valid.set(one, verdict.event.pdu);
  }
  // Where the room's id is its hash, nothing but the whole event says so.
  if (!received.some((event) => isCreate(event) && (valid.has(event) || !version.roomIdIsCreateHash)))
    faults.unshift('has no m.room.create');
  const isDoubtful = (event: JsonObject): boolean => event['signatures'] !== undefined && !valid.has(event);
  const shown = received
    .filter((event) => showsDoubtful || !isDoubtful(event))
    .map((event) => valid.get(event) ?? event);
  return { shown, fault: faults[0] };
};

const isCreate = ({ state_key: key, type }: JsonObject): boolean => type === 'm.room.create' && key === '';

/** The events that are looked at: m.room.create first, then what clients show of a room, however late a server tells them. */
const foremost = (state: readonly JsonValue[]): readonly JsonObject[] => {
  const types: readonly JsonValue[] = STRIPPED_STATE_TYPES;
  const rank = (event: JsonObject): number => {
    if (isCreate(event)) return 0;
    return event['state_key'] === '' && types.includes(event['type'] ?? null) ? 1 : 2;
  };
  const events = state.filter((one) => isJsonObject(one));
  return events.toSorted((one, other) => rank(one) - rank(other)).slice(0, MAX_EVENTS);
};

const roomOf = (version: RoomVersion, event: IdentifiedPdu): string | undefined =>
  event.pdu.type === 'm.room.create' && version.roomIdIsCreateHash
    ? createdRoomId(event.eventId)
    : roomIdOf(version, event);

const stripped = (one: JsonObject, version: RoomVersion): StrippedStateEvent | undefined => {
  const { content, origin_server_ts: ts, sender, state_key: stateKey, type } = one;
  if (typeof type !== 'string' || !fitsBytes(type) || typeof stateKey !== 'string' || !fitsBytes(stateKey))
    return undefined;
  if (!isUserId(sender) || !isJsonObject(content) || !isWellFormedJson([type, stateKey, content])) return undefined;
  const event = { type, sender, content, state_key: stateKey };
  return strippedState(Number.isSafeInteger(ts) ? { ...event, origin_server_ts: ts as number } : event, version);
};

/** Size as JSON; Infinity for values that cannot be serialised. */
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
