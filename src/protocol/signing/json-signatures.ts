import { canonicalJson } from '#src/protocol/json/canonical-json.ts';
import type { CanonicalJsonMode } from '#src/protocol/json/canonical-json.ts';
import { isJsonObject } from '#src/protocol/json/json-value.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { decodeBase64, withoutPadding } from './base64.ts';
import { ed25519, SIGNATURE_BYTES } from './ed25519.ts';
import type { SigningKey, VerifyKey } from './signing-key.ts';

/** The signature of a text's UTF-8 bytes in unpadded base64. */
export function signText(text: string, key: SigningKey): string {
  return withoutPadding(ed25519().sign(Buffer.from(text), key.secretKey).toString('base64'));
}

/** Whether `signature` (base64) is the signature of a text's UTF-8 bytes by the holder of `verifyKey`. */
export function verifyText(text: string, signature: string, verifyKey: VerifyKey): boolean {
  const bytes = decodeBase64(signature);
  return bytes?.byteLength === SIGNATURE_BYTES && ed25519().verify(Buffer.from(text), bytes, verifyKey.bytes);
}

/** The text that a signature of an object covers: its Canonical JSON "without `signatures` or keys grouped as `unsigned`". */
export function signedText(object: JsonObject, mode: CanonicalJsonMode = 'strict'): string {
  const { signatures: _signatures, unsigned: _unsigned, ...rest } = object;
  return canonicalJson(rest, mode);
}

/** A copy of the object with our signature beside those it has. Appendices, "Signing Details". */
export function signJson(
  object: JsonObject,
  entity: string,
  key: SigningKey,
  mode: CanonicalJsonMode = 'strict',
): JsonObject {
  return withSignature(object, entity, key.keyId, signText(signedText(object, mode), key));
}

/** A copy of the object with one more entry in `signatures`. */
export function withSignature(object: JsonObject, entity: string, keyId: string, signature: string): JsonObject {
  const signatures = isJsonObject(object['signatures']) ? object['signatures'] : {};
  const own = Object.hasOwn(signatures, entity) ? signatures[entity] : undefined;
  return {
    ...object,
    signatures: { ...signatures, [entity]: { ...(isJsonObject(own) ? own : {}), [keyId]: signature } },
  };
}

/** The signatures of an entity by algorithms that we understand: key id -> base64. */
export function signaturesOf(object: JsonObject, entity: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  const signatures = object['signatures'];
  if (!isJsonObject(signatures) || !Object.hasOwn(signatures, entity)) return found;
  const own = signatures[entity];
  if (!isJsonObject(own)) return found;
  for (const [keyId, signature] of Object.entries(own)) {
    if (keyId.startsWith('ed25519:') && typeof signature === 'string') found.set(keyId, signature);
  }
  return found;
}

/**
 * Whether `entity` signed the object with the key `keyId`. Appendices, "Checking for a Signature"; looking the key up, and
 * judging whether it was valid at the time, is the caller's part.
 *
 * @throws MatrixError M_BAD_JSON if the object has no canonical form in this mode
 */
export function verifyJson(
  object: JsonObject,
  entity: string,
  keyId: string,
  verifyKey: VerifyKey,
  mode: CanonicalJsonMode = 'strict',
): boolean {
  const signature = signaturesOf(object, entity).get(keyId);
  return signature !== undefined && verifyText(signedText(object, mode), signature, verifyKey);
}
