import { fitsBytes, fitsCodePoints } from '#src/protocol/identifiers/byte-length.ts';
import { isEventId, isHashRoomId, parseDomainIdentifier } from '#src/protocol/identifiers/identifiers.ts';
import { canonicalJson } from '#src/protocol/json/canonical-json.ts';
import { canonicalJsonFault, isJsonObject, isWellFormedJson, MAX_JSON_DEPTH } from '#src/protocol/json/json-value.ts';
import type { JsonObject, JsonValue } from '#src/protocol/json/json-value.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import { canonicalJsonModeOf } from './event-hashes.ts';
import type { Pdu } from './pdu.ts';

/** "The complete event MUST NOT be larger than 65536 bytes". Client-Server API, "Size limits". */
export const MAX_EVENT_BYTES = 65536;
/** "Must contain less than or equal to 20 events." Server-Server API, `prev_events`. */
export const MAX_PREV_EVENTS = 20;
/** "Must contain less than or equal to 10 events." Server-Server API, `auth_events`. */
export const MAX_AUTH_EVENTS = 10;
/** The limit of `sender`, `room_id`, `type`, `state_key` and `event_id`. Client-Server API, "Size limits". */
export const MAX_KEY_LENGTH = 255;

/** The verdict on an event's format. `tooLarge` marks what a client is told as M_TOO_LARGE. */
export type PduFormat =
  | { readonly ok: true; readonly pdu: Pdu }
  | { readonly ok: false; readonly reason: string; readonly tooLarge?: true };

const LIMITED_KEYS = ['sender', 'room_id', 'type', 'state_key', 'event_id'] as const;

/** The largest `depth`: 2^63 - 1, which JavaScript rounds up, and since v6 the largest integer of Canonical JSON. */
function maxDepth(version: RoomVersion): number {
  return version.strictCanonicalJson ? Number.MAX_SAFE_INTEGER : 2 ** 63;
}

/**
 * Whether JSON that another server sent complies with the event format of a room version: the first of the "Checks performed
 * on receipt of a PDU". Signatures, hashes and authorization are not looked at.
 */
export function checkPduFormat(version: RoomVersion, json: unknown): PduFormat {
  if (!isJsonObject(json)) return refuse('the event is not a JSON object');
  if (version.strictCanonicalJson) {
    // "the Federation API's /send endpoint would discard the event". Since v6.
    const fault = canonicalJsonFault(json);
    if (fault !== undefined) return refuse(`the event is not Canonical JSON: ${fault}`);
  } else if (sizeOf(version, json) !== undefined && !isWellFormedJson(json))
    // Before v6 numbers may be any, but without UTF-8 there is nothing that could be hashed and signed.
    return refuse('the event contains a string with a lone surrogate, which has no UTF-8 form');
  const reason = fieldFault(version, json);
  if (reason !== undefined) return refuse(reason);
  const oversize = oversizeKey(version, json);
  if (oversize !== undefined)
    return { ok: false, reason: `${oversize} is longer than ${MAX_KEY_LENGTH}`, tooLarge: true };
  const size = sizeOf(version, json);
  if (size === undefined)
    return refuse(`the event has a number beyond all bounds or more than ${MAX_JSON_DEPTH} levels`);
  if (size > MAX_EVENT_BYTES)
    return { ok: false, reason: `the event has ${size} bytes, more than ${MAX_EVENT_BYTES}`, tooLarge: true };
  return { ok: true, pdu: json as Pdu };
}

function refuse(reason: string): PduFormat {
  return { ok: false, reason };
}

/** The key that is longer than 255 code points or, since v11, bytes. */
export function oversizeKey(version: RoomVersion, event: JsonObject): string | undefined {
  const fits = version.keyLimitsInBytes ? fitsBytes : fitsCodePoints;
  return LIMITED_KEYS.find((key) => typeof event[key] === 'string' && !fits(event[key], MAX_KEY_LENGTH));
}

function sizeOf(version: RoomVersion, event: JsonObject): number | undefined {
  try {
    return Buffer.byteLength(canonicalJson(event, canonicalJsonModeOf(version)));
  } catch {
    return undefined;
  }
}

function fieldFault(version: RoomVersion, event: JsonObject): string | undefined {
  if (typeof event['type'] !== 'string') return 'type is not a string';
  // Lengths are judged apart, because their unit depends on the room version.
  if (parseDomainIdentifier('@', event['sender']) === undefined) return 'sender is not a user id';
  if (event['state_key'] !== undefined && typeof event['state_key'] !== 'string') return 'state_key is not a string';
  if (!isJsonObject(event['content'])) return 'content is not an object';
  if (!Number.isInteger(event['origin_server_ts'])) return 'origin_server_ts is not an integer';
  const { depth } = event;
  if (!Number.isInteger(depth) || (depth as number) < 0 || (depth as number) > maxDepth(version)) {
    return 'depth is not an integer in the range of this room version';
  }
  const withNul = LIMITED_KEYS.find((key) => typeof event[key] === 'string' && event[key].includes('\0'));
  // Nobody means that, and no table of names takes it.
  if (withNul !== undefined) return `${withNul} has a NUL character`;
  if (event['unsigned'] !== undefined && !isJsonObject(event['unsigned'])) return 'unsigned is not an object';
  if (!version.redactsInContent && event['redacts'] !== undefined && typeof event['redacts'] !== 'string')
    return 'redacts is not a string';
  return (
    roomIdFault(version, event) ??
    eventIdFault(version, event) ??
    hashesFault(event['hashes']) ??
    signaturesFault(event['signatures']) ??
    referencesFault(version, 'prev_events', event['prev_events'], MAX_PREV_EVENTS) ??
    referencesFault(version, 'auth_events', event['auth_events'], MAX_AUTH_EVENTS)
  );
}

function roomIdFault(version: RoomVersion, event: JsonObject): string | undefined {
  const { room_id: roomId } = event;
  if (!version.roomIdIsCreateHash)
    return parseDomainIdentifier('!', roomId) === undefined ? 'room_id is not a room id with a domain' : undefined;
  // "Room identifier. Omitted from m.room.create events." Since v12; that one is there nevertheless is for the authorization rules.
  if (event['type'] === 'm.room.create' && (roomId === undefined || typeof roomId === 'string')) return undefined;
  return isHashRoomId(roomId) ? undefined : 'room_id is not the hash of a create event';
}

function eventIdFault(version: RoomVersion, event: JsonObject): string | undefined {
  if (version.eventIdFormat !== 'assigned') return undefined;
  return parseDomainIdentifier('$', event['event_id']) === undefined
    ? 'event_id is not an event id with a domain'
    : undefined;
}

function hashesFault(hashes: JsonValue | undefined): string | undefined {
  return isJsonObject(hashes) && typeof hashes['sha256'] === 'string' ? undefined : 'hashes has no sha256';
}

function signaturesFault(signatures: JsonValue | undefined): string | undefined {
  if (!isJsonObject(signatures)) return 'signatures is not an object';
  const wellFormed = Object.values(signatures).every(
    (entity) => isJsonObject(entity) && Object.values(entity).every((signature) => typeof signature === 'string'),
  );
  return wellFormed ? undefined : 'signatures is not an object of objects of strings';
}

function referencesFault(
  version: RoomVersion,
  key: string,
  references: JsonValue | undefined,
  limit: number,
): string | undefined {
  if (!Array.isArray(references)) return `${key} is not an array`;
  if (references.length > limit) return `${key} names more than ${limit} events`;
  const wellFormed =
    version.eventReferences === 'id'
      ? references.every(isEventIdLike)
      : references.every(
          (pair) => Array.isArray(pair) && pair.length === 2 && isEventIdLike(pair[0]) && isJsonObject(pair[1]),
        );
  return wellFormed ? undefined : `${key} is not a list of event references of this room version`;
}

/** The hashes beside an id are a few texts. Room versions 1 and 2. */
const MAX_HASHES = 8;
const MAX_HASH_LENGTH = 255;

/**
 * Whether something can stand in the `prev_events` or `auth_events` of a new event: references of the room version that are no longer than they
 * need be. What another server proposes has to be, so that an event made of it is too large or malformed by nobody else's fault.
 */
export function areReferences(version: RoomVersion, references: readonly JsonValue[]): boolean {
  const isHash = (hash: JsonValue): boolean =>
    typeof hash === 'string' && hash.length <= MAX_HASH_LENGTH && hash.isWellFormed();
  const areHashes = (hashes: JsonValue | undefined): boolean =>
    isJsonObject(hashes) && Object.keys(hashes).length <= MAX_HASHES && Object.entries(hashes).flat().every(isHash);
  return references.every((reference) =>
    version.eventReferences === 'id'
      ? isEventId(reference)
      : Array.isArray(reference) && reference.length === 2 && isEventId(reference[0]) && areHashes(reference[1]),
  );
}

function isEventIdLike(id: unknown): boolean {
  return typeof id === 'string' && id.startsWith('$') && id.length > 1;
}
