import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { ROOM_VERSIONS, roomVersion } from '#src/protocol/room-versions/room-versions.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import type { EventReference } from '#src/protocol/events/pdu.ts';
import { decodeBase64 } from '#src/protocol/signing/base64.ts';
import { signingKeyFromSeed } from '#src/protocol/signing/signing-key.ts';

/** Appendices, "Cryptographic Test Vectors". */
export const KEY = signingKeyFromSeed('1', decodeBase64('YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1') as Buffer);
export const SIGNER = { serverName: 'domain', signingKey: KEY };
export const HASH = 'Nhcu5BS-UMnFX7hBVfVSoXiD7OgH6iRT-xyIuqDnpYQ';
export const ALL_VERSIONS: readonly RoomVersion[] = [...ROOM_VERSIONS.values()];

/** The rules of a version that is known to exist. */
export function rules(id: string | number): RoomVersion {
  const version = roomVersion(String(id));
  if (version === undefined) throw new Error(`no room version ${id}`);
  return version;
}

/** A reference to some event in the form of the room version. */
export function reference(version: RoomVersion, id: string): EventReference {
  return version.eventReferences === 'id' ? id : [id, { sha256: HASH }];
}

/** A well-formed PDU of a room version, with changes. */
export function wirePdu(version: RoomVersion, changes: JsonObject = {}): JsonObject {
  return {
    ...(version.eventIdFormat === 'assigned' ? { event_id: '$e:domain' } : {}),
    room_id: version.roomIdIsCreateHash ? `!${HASH}` : '!r:domain',
    type: 'm.room.message',
    sender: '@u:domain',
    content: { body: 'hello' },
    origin_server_ts: 1_000_000,
    depth: 3,
    prev_events: [reference(version, '$p:domain')],
    auth_events: [],
    hashes: { sha256: HASH },
    signatures: { domain: { 'ed25519:1': 'sig' } },
    ...changes,
  };
}
