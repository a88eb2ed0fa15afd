import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isJsonObject, isWellFormedJson, type JsonObject, type JsonValue } from '#src/protocol/json/json-value.ts';

/** A one-time or fallback key as it is uploaded: `<algorithm>:<keyId>` -> a string or an object. */
export interface UploadedKey {
  readonly algorithm: string;
  readonly keyId: string;
  readonly key: JsonValue;
}

/** Characters of a device's identity keys as JSON. Real ones take less than a thousand. */
export const MAX_DEVICE_KEYS_LENGTH = 16_384;
/** Characters of one one-time or fallback key as JSON. Real ones take about two hundred. */
export const MAX_KEY_LENGTH = 4_096;
/** Characters of `<algorithm>:<keyId>`. */
const MAX_NAME_LENGTH = 255;

const isTextMap = (value: unknown): boolean =>
  isJsonObject(value) && Object.values(value).every((text) => typeof text === 'string');

/** Whether a value is `{ <user>: { <key id>: <signature> } }`. */
export const isSignatures = (value: unknown): boolean => isJsonObject(value) && Object.values(value).every(isTextMap);

/**
 * The identity keys that a device uploads, without what the server adds. Client-Server API, `DeviceKeys`.
 *
 * @throws MatrixError M_BAD_JSON when something is missing, M_INVALID_PARAM when they are another device's, M_TOO_LARGE
 */
export const parseDeviceKeys = (given: unknown, userId: string, deviceId: string): JsonObject => {
  const bad = (what: string): MatrixError => new MatrixError('M_BAD_JSON', `device_keys ${what}.`);
  if (!isJsonObject(given)) throw bad('must be an object');
  const { unsigned: _unsigned, ...keys } = given;
  for (const member of ['user_id', 'device_id'])
    if (typeof keys[member] !== 'string') throw bad(`must have a ${member}, a string`);
  const { algorithms } = keys;
  if (!Array.isArray(algorithms) || !algorithms.every((name) => typeof name === 'string'))
    throw bad('must have algorithms, a list of strings');
  if (!isTextMap(keys['keys'])) throw bad('must have keys, a map of strings');
  if (!isSignatures(keys['signatures'])) throw bad('must have signatures, a map of maps of strings');
  if (keys['user_id'] !== userId || keys['device_id'] !== deviceId)
    throw new MatrixError(
      'M_INVALID_PARAM',
      'These device_keys belong to another user or device than the one that asks.',
    );
  if (!isWellFormedJson(keys)) throw bad('must have no half of a surrogate pair in them');
  if (JSON.stringify(keys).length > MAX_DEVICE_KEYS_LENGTH)
    throw new MatrixError('M_TOO_LARGE', `device_keys are larger than ${MAX_DEVICE_KEYS_LENGTH} characters.`);
  return keys;
};

/**
 * One-time or fallback keys that a device uploads. Client-Server API, `POST /keys/upload`.
 *
 * @param member the name of the member they stand in
 * @throws MatrixError M_BAD_JSON, M_TOO_LARGE
 */
export const parseUploadedKeys = (given: unknown, member: 'one_time_keys' | 'fallback_keys'): UploadedKey[] => {
  if (given === undefined) return [];
  if (!isJsonObject(given)) throw new MatrixError('M_BAD_JSON', `${member} must be an object.`);
  return Object.entries(given).map(([name, key]) => {
    const colon = name.indexOf(':');
    if (colon <= 0 || colon === name.length - 1 || name.length > MAX_NAME_LENGTH || name.includes('\0'))
      throw new MatrixError('M_BAD_JSON', `The names in ${member} have the form <algorithm>:<key id>.`);
    if (typeof key !== 'string' && !(isJsonObject(key) && typeof key['key'] === 'string'))
      throw new MatrixError('M_BAD_JSON', `A key in ${member} must be a string, or an object with a key.`);
    if (isJsonObject(key) && key['signatures'] !== undefined && !isSignatures(key['signatures']))
      throw new MatrixError('M_BAD_JSON', `The signatures of a key in ${member} must be a map of maps of strings.`);
    if (!isWellFormedJson([name, key]))
      throw new MatrixError('M_BAD_JSON', `A key in ${member} holds half of a surrogate pair.`);
    if (JSON.stringify(key).length > MAX_KEY_LENGTH)
      throw new MatrixError('M_TOO_LARGE', `A key in ${member} is larger than ${MAX_KEY_LENGTH} characters.`);
    return { algorithm: name.slice(0, colon), keyId: name.slice(colon + 1), key };
  });
};
