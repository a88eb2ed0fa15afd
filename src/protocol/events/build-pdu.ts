import { hash } from 'node:crypto';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { canonicalJson } from '#src/protocol/json/canonical-json.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import { withoutPadding } from '#src/protocol/signing/base64.ts';
import { signText, withSignature } from '#src/protocol/signing/json-signatures.ts';
import type { SigningKey } from '#src/protocol/signing/signing-key.ts';
import { canonicalJsonModeOf, eventIdOf, signedEventText } from './event-hashes.ts';
import type { EventReference, Pdu } from './pdu.ts';
import { MAX_AUTH_EVENTS, MAX_EVENT_BYTES, MAX_KEY_LENGTH, MAX_PREV_EVENTS, oversizeKey } from './pdu-format.ts';
import { redactContent } from './redaction.ts';
import { STICKY } from './sticky.ts';

/** What a new event is made of; hashes, signatures and (but for v1 and v2) the event id are computed. */
export interface PduTemplate {
  readonly type: string;
  readonly sender: string;
  /** Left out for the `m.room.create` of rooms whose id is its hash. */
  readonly roomId?: string;
  readonly stateKey?: string;
  readonly content: JsonObject;
  /** Milliseconds since 1970. */
  readonly originServerTs: number;
  readonly depth: number;
  readonly prevEvents: readonly EventReference[];
  readonly authEvents: readonly EventReference[];
  /** The event to redact; it is put where the room version wants it. */
  readonly redacts?: string;
  /** Milliseconds for which it is to be sticky. MSC4354. */
  readonly stickyDurationMs?: number;
  /** Room versions 1 and 2 only, where the sending server chooses it: `$opaque:domain`. */
  readonly eventId?: string;
}

/** The server in whose name an event is signed. */
export interface PduSigner {
  readonly serverName: string;
  readonly signingKey: SigningKey;
}

/** A new event. `json` is the Canonical JSON of `pdu`. */
export interface BuiltPdu {
  readonly pdu: Pdu;
  readonly eventId: string;
  readonly json: string;
}

/**
 * Makes, hashes and signs an event: one content hash, one reference hash, one signature. Every part is encoded once, and the
 * three texts (hashed, signed, complete) are put together from the parts in the order of Canonical JSON.
 * Server-Server API, "Adding hashes and signatures to outgoing events".
 *
 * @throws MatrixError M_TOO_LARGE if the event or one of its keys is over its limit, M_BAD_JSON if it has no canonical form
 */
export function buildPdu(version: RoomVersion, template: PduTemplate, signer: PduSigner): BuiltPdu {
  if (template.prevEvents.length > MAX_PREV_EVENTS || template.authEvents.length > MAX_AUTH_EVENTS) {
    throw new TypeError('a template with more prev_events or auth_events than an event may have');
  }
  const mode = canonicalJsonModeOf(version);
  const { type, sender, roomId, stateKey, originServerTs, depth, prevEvents, authEvents, redacts } = template;
  const sticky = template.stickyDurationMs === undefined ? undefined : { duration_ms: template.stickyDurationMs };
  const ownId = version.eventIdFormat === 'assigned' ? template.eventId : undefined;
  if (version.eventIdFormat === 'assigned' && ownId === undefined)
    throw new TypeError('events of this room version are given their id');
  const inContent = redacts !== undefined && version.redactsInContent;
  const atTop = redacts !== undefined && !version.redactsInContent;
  const content: JsonObject = inContent ? { ...template.content, redacts } : template.content;

  const quote = (text: string): string => canonicalJson(text, mode);
  const contentJson = canonicalJson(content, mode);
  const keptContentJson = canonicalJson(redactContent(version, type, content), mode);
  // The members of an event in the order of their code points: auth_events, content, depth, event_id, hashes, msc4354_sticky, origin_server_ts,
  // prev_events, redacts, room_id, sender, signatures, state_key, type.
  const head = `{"auth_events":${canonicalJson(authEvents, mode)},"content":`;
  const upToHashes = `,"depth":${canonicalJson(depth, mode)}${ownId === undefined ? '' : `,"event_id":${quote(ownId)}`}`;
  // Redaction does not keep it: it is hashed, but the signature only covers it by the hash.
  const stickyJson = sticky === undefined ? '' : `,"${STICKY}":${canonicalJson(sticky, mode)}`;
  const upToRedacts = `,"origin_server_ts":${canonicalJson(originServerTs, mode)},"prev_events":${canonicalJson(prevEvents, mode)}`;
  const redactsJson = atTop ? `,"redacts":${quote(redacts)}` : '';
  const upToSignatures = `${roomId === undefined ? '' : `,"room_id":${quote(roomId)}`},"sender":${quote(sender)}`;
  const tail = `${stateKey === undefined ? '' : `,"state_key":${quote(stateKey)}`},"type":${quote(type)}}`;

  const sha256 = withoutPadding(
    hash(
      'sha256',
      head + contentJson + upToHashes + stickyJson + upToRedacts + redactsJson + upToSignatures + tail,
      'base64',
    ),
  );
  const hashesJson = `,"hashes":{"sha256":"${sha256}"}`;
  const signed = head + keptContentJson + upToHashes + hashesJson + upToRedacts + upToSignatures + tail;
  const signature = signText(signed, signer.signingKey);
  const { keyId } = signer.signingKey;
  const signaturesJson = `,"signatures":{${quote(signer.serverName)}:{${quote(keyId)}:"${signature}"}}`;
  const json =
    head +
    contentJson +
    upToHashes +
    hashesJson +
    stickyJson +
    upToRedacts +
    redactsJson +
    upToSignatures +
    signaturesJson +
    tail;

  const pdu: Pdu = {
    auth_events: authEvents,
    content,
    depth,
    ...(ownId === undefined ? {} : { event_id: ownId }),
    hashes: { sha256 },
    ...(sticky === undefined ? {} : { [STICKY]: sticky }),
    origin_server_ts: originServerTs,
    prev_events: prevEvents,
    ...(atTop ? { redacts } : {}),
    ...(roomId === undefined ? {} : { room_id: roomId }),
    sender,
    signatures: { [signer.serverName]: { [keyId]: signature } },
    ...(stateKey === undefined ? {} : { state_key: stateKey }),
    type,
  };
  assertKeysFit(version, pdu);
  assertFits(json);
  return { pdu, eventId: ownId ?? eventIdOf(version, pdu, signed), json };
}

/**
 * A copy of an event with our signature beside those that it has: for invites to our users, and joins that we authorise. Server-Server API,
 * "Signing Events".
 *
 * @throws MatrixError M_BAD_JSON if it has no canonical form
 */
export function countersigned(
  version: RoomVersion,
  pdu: JsonObject,
  { serverName, signingKey }: PduSigner,
): JsonObject {
  return withSignature(pdu, serverName, signingKey.keyId, signText(signedEventText(version, pdu), signingKey));
}

/**
 * An event with the signature of another server beside ours. Its id stays: signatures are no part of it.
 *
 * @throws MatrixError M_TOO_LARGE if that makes it too large
 */
export function alsoSigned(
  version: RoomVersion,
  event: BuiltPdu,
  serverName: string,
  keyId: string,
  signature: string,
): BuiltPdu {
  const pdu = withSignature(event.pdu, serverName, keyId, signature) as Pdu;
  const json = canonicalJson(pdu, canonicalJsonModeOf(version));
  assertFits(json);
  return { ...event, pdu, json };
}

/** @throws MatrixError M_TOO_LARGE if one of an event's keys is over its limit. Client-Server API, "Size limits" */
export function assertKeysFit(version: RoomVersion, event: JsonObject): void {
  const oversize = oversizeKey(version, event);
  if (oversize !== undefined)
    throw new MatrixError('M_TOO_LARGE', `The ${oversize} of an event must not be longer than ${MAX_KEY_LENGTH}.`);
}

function assertFits(json: string): void {
  if (json.length > MAX_EVENT_BYTES || Buffer.byteLength(json) > MAX_EVENT_BYTES) {
    throw new MatrixError('M_TOO_LARGE', `An event must not have more than ${MAX_EVENT_BYTES} bytes.`);
  }
}
