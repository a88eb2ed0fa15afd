import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import { decodeBase64, encodeBase64, encodeUrlSafeBase64 } from '#src/protocol/signing/base64.ts';

/** 256-bit hashes in base64, without padding. */
const HASH_ID = /^\$[A-Za-z0-9+/_-]{43}$/;

const HASH_BYTES = 32;

/** The bytes under which an event id is stored: the hash itself where the id is one, else the text. */
export const eventIdBytes = (eventId: string): Buffer => {
  if (HASH_ID.test(eventId)) {
    const bytes = decodeBase64(eventId.slice(1).replaceAll('-', '+').replaceAll('_', '/'));
    if (bytes !== undefined) return bytes;
  }
  return Buffer.from(eventId, 'utf8');
};

/** The event id that was stored as these bytes. A zero at the end marks an event whose id another row has by now. */
export const eventIdText = (version: RoomVersion, stored: Buffer): string => {
  const isShadow = stored.at(-1) === 0 && (version.eventIdFormat === 'assigned' || stored.length === HASH_BYTES + 1);
  const bytes = isShadow ? stored.subarray(0, -1) : stored;
  switch (version.eventIdFormat) {
    case 'assigned':
      return bytes.toString('utf8');
    case 'base64':
      return `$${encodeBase64(bytes)}`;
    case 'urlSafeBase64':
      return `$${encodeUrlSafeBase64(bytes)}`;
  }
};
