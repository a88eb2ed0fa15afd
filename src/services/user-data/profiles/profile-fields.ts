import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { quotaFull } from '#src/protocol/errors/quota-full.ts';
import { fitsBytes } from '#src/protocol/identifiers/byte-length.ts';
import type { JsonObject, JsonValue } from '#src/protocol/json/json-value.ts';

/** Bytes of a whole profile as JSON. Client-Server API, `PUT /profile/{userId}/{keyName}`: "the total profile MUST be under 64 KiB". */
export const MAX_PROFILE_SIZE = 65_536;
/** Characters. Members carry the name in every room, so it is bounded apart: a member event has to stay far below 64 KiB. */
export const MAX_NAME_LENGTH = 256;
/** Bytes. */
export const MAX_URL_LENGTH = 1_000;

/** Appendices, "Common Namespaced Identifier Grammar", and the fields that were there before it. */
const KEY = /^(avatar_url|displayname|m\.tz|[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+)$/;

/** @throws MatrixError M_KEY_TOO_LARGE over 255 bytes, M_INVALID_PARAM for what is no name of a field */
export const assertProfileKey = (key: string): void => {
  if (!fitsBytes(key))
    throw new MatrixError('M_KEY_TOO_LARGE', 'The name of a profile field must not be longer than 255 bytes.');
  if (!KEY.test(key)) {
    throw new MatrixError(
      'M_INVALID_PARAM',
      'Invalid profile key: use displayname, avatar_url, m.tz or a namespaced name such as org.example.field.',
    );
  }
};

/**
 * The value to store for a field, or undefined when the request means that there should be none: an empty name or avatar.
 *
 * @throws MatrixError M_MISSING_PARAM, M_BAD_JSON (wrong type), M_INVALID_PARAM (wrong form, too long)
 */
export const profileValueIn = (key: string, body: JsonObject): JsonValue | undefined => {
  const value = Object.hasOwn(body, key) ? body[key] : undefined;
  if (value === undefined)
    throw new MatrixError('M_MISSING_PARAM', `The body needs the member ${key}, as the path says.`);
  if (key !== 'displayname' && key !== 'avatar_url' && key !== 'm.tz') return value;
  if (typeof value !== 'string') throw new MatrixError('M_BAD_JSON', `${key} must be a string.`);
  if (value === '') return undefined;
  // Members carry it in every room, and what UTF-8 cannot express cannot be part of an event.
  if (!value.isWellFormed())
    throw new MatrixError('M_INVALID_PARAM', `${key} holds half of a surrogate pair, which UTF-8 cannot express.`);
  if (key === 'displayname' && value.length > MAX_NAME_LENGTH) {
    throw new MatrixError('M_INVALID_PARAM', `A display name must not be longer than ${MAX_NAME_LENGTH} characters.`);
  }
  // It should be a content URI, but clients and bridges set others. It is never fetched here.
  if (key === 'avatar_url' && !fitsBytes(value, MAX_URL_LENGTH))
    throw new MatrixError('M_INVALID_PARAM', `avatar_url must not be longer than ${MAX_URL_LENGTH} bytes.`);
  return value;
};

/** @throws MatrixError M_PROFILE_TOO_LARGE */
export const assertProfileSize = (fields: JsonObject): void => {
  if (Buffer.byteLength(JSON.stringify(fields)) >= MAX_PROFILE_SIZE) {
    throw quotaFull('profile_bytes', 'With this the profile would be 64 KiB or more.');
  }
};
