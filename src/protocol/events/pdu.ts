import type { JsonObject, JsonValue } from '#src/protocol/json/json-value.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';

/** How a PDU names another event: by id, or in room versions 1 and 2 by `[id, { sha256: <reference hash> }]`. */
export type EventReference = string | readonly [string, JsonObject];

/**
 * A persistent data unit as it stands on the wire, checked by `checkPduFormat`. Server-Server API, "PDUs"; room versions,
 * "Event format". Other members may be there too.
 */
export interface Pdu extends JsonObject {
  readonly type: string;
  readonly sender: string;
  readonly content: JsonObject;
  readonly origin_server_ts: number;
  readonly depth: number;
  readonly prev_events: readonly EventReference[];
  readonly auth_events: readonly EventReference[];
  readonly hashes: JsonObject;
  readonly signatures: JsonObject;
  /** Absent from the `m.room.create` of rooms whose id is its hash. */
  readonly room_id?: string;
  readonly state_key?: string;
  /** Room versions 1 and 2. */
  readonly event_id?: string;
  /** The redacted event, in room versions 1 to 10. */
  readonly redacts?: string;
  readonly unsigned?: JsonObject;
}

/** A PDU together with its event id (which most room versions compute from it). */
export interface IdentifiedPdu {
  readonly eventId: string;
  readonly pdu: Pdu;
  /** Whether the authorization rules rejected it. */
  readonly rejected?: boolean;
}

/** The event ids that `prev_events` or `auth_events` name. */
export function referencedIds(references: readonly EventReference[]): readonly string[] {
  return references.map((reference) => (typeof reference === 'string' ? reference : reference[0]));
}

/** A member of an object that may be called anything, `__proto__` and `constructor` included. */
export function memberOf(object: JsonObject, member: string): JsonValue | undefined {
  return Object.hasOwn(object, member) ? object[member] : undefined;
}

/** The event that a redaction names, or undefined if it names none. The place moved into `content` in v11. */
export function redactionTarget(version: RoomVersion, pdu: Pdu): string | undefined {
  const target = version.redactsInContent ? memberOf(pdu.content, 'redacts') : pdu.redacts;
  return typeof target === 'string' ? target : undefined;
}

/** The room of an event, which for `m.room.create` may follow from its event id. Since v12. */
export function roomIdOf(version: RoomVersion, event: IdentifiedPdu): string | undefined {
  if (event.pdu.room_id !== undefined) return event.pdu.room_id;
  return version.roomIdIsCreateHash && event.pdu.type === 'm.room.create' ? createdRoomId(event.eventId) : undefined;
}

/** The id of the room that a create event makes: "simply the event ID of the m.room.create event using ! as the sigil". Since v12. */
export function createdRoomId(createEventId: string): string {
  return `!${createEventId.slice(1)}`;
}

/** The other way round: the id of the create event that a room's id is made of. Since v12. */
export function createEventIdOf(roomId: string): string {
  return `$${roomId.slice(1)}`;
}
