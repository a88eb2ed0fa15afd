import { hash } from 'node:crypto';
import { canonicalJson } from '#src/protocol/json/canonical-json.ts';
import type { CanonicalJsonMode } from '#src/protocol/json/canonical-json.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { isJsonObject } from '#src/protocol/json/json-value.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import { decodeBase64, withoutPadding } from '#src/protocol/signing/base64.ts';
import { signedText } from '#src/protocol/signing/json-signatures.ts';
import type { EventReference, Pdu } from './pdu.ts';
import { redact } from './redaction.ts';

/** Whether events of a room version must be Canonical JSON to the letter. */
export function canonicalJsonModeOf(version: RoomVersion): CanonicalJsonMode {
  return version.strictCanonicalJson ? 'strict' : 'lenient';
}

/**
 * The content hash of an event, unpadded base64: SHA-256 over all of it but `unsigned`, `signatures` and `hashes`.
 * Server-Server API, "Calculating the content hash for an event".
 */
export function contentHash(version: RoomVersion, event: JsonObject): string {
  const { unsigned: _unsigned, signatures: _signatures, hashes: _hashes, ...rest } = event;
  return withoutPadding(hash('sha256', canonicalJson(rest, canonicalJsonModeOf(version)), 'base64'));
}

/** Whether the content hash that an event carries is right; if not, only its redacted copy may be used. */
export function hasRightContentHash(version: RoomVersion, event: JsonObject): boolean {
  const { hashes } = event;
  const carried = isJsonObject(hashes) ? hashes['sha256'] : undefined;
  // "The content hash in the hashes property of the received event is base64-decoded, and the two are compared for equality."
  return typeof carried === 'string' && decodeBase64(carried)?.toString('base64') === `${contentHash(version, event)}=`;
}

/** The text whose bytes the signatures and the reference hash of an event cover: its redacted copy without `signatures`. */
export function signedEventText(version: RoomVersion, event: JsonObject): string {
  return signedText(redact(version, event), canonicalJsonModeOf(version));
}

/**
 * The reference hash of an event. Server-Server API, "Calculating the reference hash for an event".
 *
 * @param alphabet standard base64 or the URL-safe alphabet, both unpadded
 */
export function referenceHash(
  version: RoomVersion,
  event: JsonObject,
  alphabet: 'base64' | 'base64url' = 'base64',
): string {
  return withoutPadding(hash('sha256', signedEventText(version, event), alphabet));
}

/**
 * The event id of a PDU: the one it carries (v1, v2), or `$` and its reference hash.
 *
 * @throws TypeError if a PDU of v1 or v2 carries none, which `checkPduFormat` rules out
 */
export function eventId(version: RoomVersion, pdu: Pdu): string {
  return version.eventIdFormat === 'assigned'
    ? assignedId(pdu)
    : eventIdOf(version, pdu, signedEventText(version, pdu));
}

/**
 * The same, where `signedEventText` of the PDU is there already.
 *
 * @throws TypeError as `eventId`
 */
export function eventIdOf(version: RoomVersion, pdu: Pdu, signedText: string): string {
  switch (version.eventIdFormat) {
    case 'assigned':
      return assignedId(pdu);
    case 'base64':
      return `$${withoutPadding(hash('sha256', signedText, 'base64'))}`;
    case 'urlSafeBase64':
      // "The event ID is the reference hash of the event encoded using URL-safe unpadded Base64." Since v4.
      return `$${hash('sha256', signedText, 'base64url')}`;
  }
}

function assignedId(pdu: Pdu): string {
  if (pdu.event_id === undefined) throw new TypeError('a PDU of this room version carries its event_id');
  return pdu.event_id;
}

/** How `prev_events` and `auth_events` of this room version name an event. */
export function eventReference(version: RoomVersion, id: string, pdu: Pdu): EventReference {
  return version.eventReferences === 'id' ? id : [id, { sha256: referenceHash(version, pdu) }];
}
