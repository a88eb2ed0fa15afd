import { isJsonObject, type JsonObject } from '#src/protocol/json/json-value.ts';
import { signaturesOf, verifyJson } from './json-signatures.ts';
import { importVerifyKey, type VerifyKey } from './signing-key.ts';

/** A key that a server has published. */
export interface PublishedKey {
  readonly keyId: string;
  readonly verifyKey: VerifyKey;
  /** Signatures made until then are good, in milliseconds since the epoch. */
  readonly validUntil: number;
  /** The server signs with it no more. */
  readonly isOld: boolean;
}

/** What `GET /_matrix/key/v2/server` answers, or the reason why it is not believed. */
export type PublishedKeys =
  | { readonly ok: true; readonly keys: readonly PublishedKey[]; readonly validUntil: number }
  | { readonly ok: false; readonly reason: string };

/** "Servers MUST use the lesser of this field and 7 days into the future when determining if a key is valid." */
export const MAX_VALIDITY_MS = 7 * 24 * 3_600_000;
/** What is looked at of an answer. */
const MAX_KEYS = 32;
const MAX_OLD_KEYS = 64;
const KEY_ID = /^ed25519:[\x21-\x7e]{1,100}$/;

/** Whether something could be the id of a key with which we verify. */
export const isVerifyKeyId = (keyId: string): boolean => KEY_ID.test(keyId);

/**
 * Reads the keys that a server publishes. They are believed when one of its keys of today has signed them, and none of their signatures by
 * those keys is wrong. Server-Server API, "Publishing Keys".
 *
 * @param now milliseconds since the epoch, when the answer came
 */
export const readPublishedKeys = (answer: JsonObject, serverName: string, now: number): PublishedKeys => {
  const { old_verify_keys: oldKeys, server_name: name, valid_until_ts: until, verify_keys: current } = answer;
  if (name !== serverName)
    return refuse(`the answer is about ${typeof name === 'string' ? name.slice(0, 255) : 'nobody'}`);
  if (!Number.isSafeInteger(until)) return refuse('valid_until_ts is not an integer');
  if (!isJsonObject(current)) return refuse('verify_keys is not an object');
  if (Object.keys(current).length > MAX_KEYS) return refuse(`verify_keys has more than ${MAX_KEYS} keys`);
  const validUntil = Math.min(until as number, now + MAX_VALIDITY_MS);
  const keys = new Map<string, PublishedKey>();
  for (const [keyId, said] of Object.entries(current)) {
    const verifyKey = keyIn(keyId, said);
    if (verifyKey !== undefined) keys.set(keyId, { keyId, verifyKey, validUntil, isOld: false });
  }
  const signatures = [...signaturesOf(answer, serverName).keys()].filter((keyId) => keys.has(keyId));
  if (signatures.length === 0) return refuse('no key of the server has signed the answer');
  try {
    for (const keyId of signatures) {
      const key = keys.get(keyId);
      if (key === undefined || !verifyJson(answer, serverName, keyId, key.verifyKey, 'lenient'))
        return refuse(`the signature by ${keyId} is wrong`);
    }
  } catch {
    return refuse('the answer has no canonical form');
  }
  if (isJsonObject(oldKeys)) {
    for (const [keyId, said] of Object.entries(oldKeys).slice(0, MAX_OLD_KEYS)) {
      const verifyKey = keyIn(keyId, said);
      const expired = isJsonObject(said) ? said['expired_ts'] : undefined;
      if (verifyKey === undefined || !Number.isSafeInteger(expired) || keys.has(keyId)) continue;
      // A key that is to expire later is one of today's, which it is not listed among.
      keys.set(keyId, { keyId, verifyKey, validUntil: Math.min(expired as number, now), isOld: true });
    }
  }
  return { ok: true, keys: [...keys.values()], validUntil };
};

const refuse = (reason: string): PublishedKeys => ({ ok: false, reason });

const keyIn = (keyId: string, said: unknown): VerifyKey | undefined => {
  const text = isJsonObject(said) ? said['key'] : undefined;
  return isVerifyKeyId(keyId) && typeof text === 'string' ? importVerifyKey(text) : undefined;
};
