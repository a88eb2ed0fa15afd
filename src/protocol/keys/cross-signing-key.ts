import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isJsonObject, isWellFormedJson, type JsonObject } from '#src/protocol/json/json-value.ts';
import { importVerifyKey } from '#src/protocol/signing/signing-key.ts';
import { isSignatures } from './device-keys.ts';

/** A cross-signing key as it is uploaded. */
export interface CrossSigningKey {
  /** Unpadded base64. */
  readonly publicKey: string;
  readonly content: JsonObject;
}

/** Characters of a cross-signing key as JSON. Real ones take a few hundred. */
export const MAX_LENGTH = 16_384;

/**
 * A cross-signing key that a user uploads. Client-Server API, `CrossSigningKey`.
 *
 * @param member the name of the member it stands in
 * @throws MatrixError M_BAD_JSON, M_INVALID_PARAM, M_TOO_LARGE
 */
export const parseCrossSigningKey = (
  given: unknown,
  member: string,
  usage: 'master' | 'self_signing' | 'user_signing',
  userId: string,
): CrossSigningKey => {
  const bad = (what: string): MatrixError => new MatrixError('M_BAD_JSON', `${member} ${what}.`);
  if (!isJsonObject(given)) throw bad('must be an object');
  const { unsigned: _unsigned, ...content } = given;
  if (content['user_id'] !== userId)
    throw new MatrixError('M_INVALID_PARAM', `${member} must have your own user id as its user_id.`);
  if (!Array.isArray(content['usage']) || !content['usage'].includes(usage))
    throw new MatrixError('M_INVALID_PARAM', `${member} must have "${usage}" in its usage.`);
  const keys = isJsonObject(content['keys']) ? Object.entries(content['keys']) : [];
  const [name, publicKey] = keys[0] ?? [];
  if (keys.length !== 1 || typeof publicKey !== 'string' || name !== `ed25519:${publicKey}`)
    throw bad('must have exactly one key, ed25519:<public key> with the public key as its value');
  if (importVerifyKey(publicKey) === undefined) throw bad('has a public key that is no Ed25519 key in unpadded base64');
  if (content['signatures'] !== undefined && !isSignatures(content['signatures']))
    throw bad('must have signatures that are a map of maps of strings');
  if (!isWellFormedJson(content)) throw bad('must have no half of a surrogate pair in it');
  if (JSON.stringify(content).length > MAX_LENGTH)
    throw new MatrixError('M_TOO_LARGE', `${member} is larger than ${MAX_LENGTH} characters.`);
  return { publicKey, content };
};
