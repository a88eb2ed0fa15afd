import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import { decodeBase64, encodeBase64, encodeUrlSafeBase64 } from '#src/protocol/signing/base64.ts';

/** 256-bit hashes in base64, without padding. */
const HASH_ID = /^\$[A-Za-z0-9+/_-]{43}$/;

/** The bytes under which an event id is stored: the hash itself where the id is one, else the text. */
export const eventIdBytes = (eventId: string): Buffer => {
  if (HASH_ID.test(eventId)) {
    const bytes = decodeBase64(eventId.slice(1).replaceAll('-', '+').replaceAll('_', '/'));
    if (bytes !== undefined) return bytes;
  }
  return Buffer.from(eventId, 'utf8');
};

/** The event id that was stored as these bytes. */
export const eventIdText = (version: RoomVersion, bytes: Buffer): string => {
  switch (version.eventIdFormat) {
    case 'assigned':
      return bytes.toString('utf8');
    case 'base64':
      return `$${encodeBase64(bytes)}`;
    case 'urlSafeBase64':
      return `$${encodeUrlSafeBase64(bytes)}`;
  }
};
