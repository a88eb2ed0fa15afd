import { decodeBase64, encodeBase64, withoutPadding } from './base64.ts';
import { ed25519, type KeyPair, PUBLIC_KEY_BYTES, SEED_BYTES } from './ed25519.ts';

/** An Ed25519 key with which this server signs. */
export interface SigningKey {
  /** The signing key identifier, `ed25519:<version>`. */
  readonly keyId: string;
  /** What follows the colon: a name that tells this server's keys apart. */
  readonly version: string;
  /** 32 bytes, the secret. */
  readonly seed: Uint8Array;
  /** The verification key in unpadded base64, as published by `/_matrix/key/v2/server`. */
  readonly publicKey: string;
  /** The seed and the public key, 64 bytes. */
  readonly secretKey: Uint8Array;
}

/** An Ed25519 key with which signatures are verified. */
export interface VerifyKey {
  /** 32 of them. */
  readonly bytes: Uint8Array;
}

const KEY_VERSION = /^[a-zA-Z0-9_]+$/;

/**
 * The signing key with this seed.
 *
 * @param version characters `a-z A-Z 0-9 _`
 * @throws TypeError if version or seed are not of that form
 */
export function signingKeyFromSeed(version: string, seed: Uint8Array): SigningKey {
  if (!KEY_VERSION.test(version))
    throw new TypeError(`The name of a signing key consists of a-z, A-Z, 0-9 and _, unlike "${version}".`);
  if (seed.byteLength !== SEED_BYTES)
    throw new TypeError(`The seed of an Ed25519 key has 32 bytes, not ${seed.byteLength}.`);
  const own = Uint8Array.from(seed);
  let pair: KeyPair | undefined;
  // Worked out with the first use: what does it is loaded then.
  const keys = (): KeyPair => (pair ??= ed25519().keyPairOf(own));
  return {
    keyId: `ed25519:${version}`,
    version,
    seed: own,
    get publicKey() {
      return encodeBase64(keys().publicKey);
    },
    get secretKey() {
      return keys().secretKey;
    },
  };
}

/** A new signing key, `ed25519:a_<4 letters>`, from the given source of random bytes. */
export function generateSigningKey(randomBytes: (count: number) => Uint8Array): SigningKey {
  const letters = Array.from(randomBytes(4), (byte) => String.fromCharCode(0x61 + (byte % 26))).join('');
  return signingKeyFromSeed(`a_${letters}`, randomBytes(SEED_BYTES));
}

/** The line `ed25519 a_xxxx <base64 seed>` that Synapse's `signing.key` files consist of, without the line's end. */
export function formatSigningKey(key: SigningKey): string {
  return `ed25519 ${key.version} ${encodeBase64(key.seed)}`;
}

/**
 * Reads a signing key file: one key a line in the form of {@link formatSigningKey}; the first one signs.
 *
 * @throws TypeError naming the line that is not a key, or if there is none
 */
export function parseSigningKeys(text: string): readonly [SigningKey, ...SigningKey[]] {
  const keys: SigningKey[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue;
    const [algorithm, version, base64, ...rest] = line.trim().split(/\s+/);
    const seed = base64 === undefined ? undefined : decodeBase64(base64);
    if (algorithm !== 'ed25519' || version === undefined || seed?.byteLength !== SEED_BYTES || rest.length > 0) {
      throw new TypeError(
        `Line ${index + 1} of the signing key file is not of the form "ed25519 <name> <base64 of 32 bytes>".`,
      );
    }
    keys.push(signingKeyFromSeed(version, seed));
  }
  const [first, ...others] = keys;
  if (first === undefined) throw new TypeError('The signing key file holds no key.');
  return [first, ...others];
}

/** Reads a verification key (base64 of 32 bytes); undefined if it is not one. */
export function importVerifyKey(base64: string): VerifyKey | undefined {
  const bytes = decodeBase64(base64);
  return bytes?.byteLength === PUBLIC_KEY_BYTES ? { bytes } : undefined;
}

/** A key with which this server signed once. */
export interface RetiredKey {
  readonly keyId: string;
  /** The verification key in unpadded base64. */
  readonly publicKey: string;
  /** When it was retired, in milliseconds since the epoch: it is good for what was signed until then. */
  readonly expiredAt: number;
}

/** The line `ed25519 a_xxxx <base64 public key> <milliseconds>` of a file of retired keys, without the line's end. */
export function formatRetiredKey({ expiredAt, keyId, publicKey }: RetiredKey): string {
  return `${keyId.replace(':', ' ')} ${publicKey} ${expiredAt}`;
}

/**
 * Reads a file of retired keys: one key a line in the form of {@link formatRetiredKey}. Of a key that is there twice, the first line counts.
 *
 * @throws TypeError naming the line that is not a key
 */
export function parseRetiredKeys(text: string): readonly RetiredKey[] {
  const keys = new Map<string, RetiredKey>();
  for (const [index, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue;
    const [algorithm, version = '', publicKey = '', expired = '', ...rest] = line.trim().split(/\s+/);
    const isKey = algorithm === 'ed25519' && KEY_VERSION.test(version) && importVerifyKey(publicKey) !== undefined;
    if (!isKey || !/^\d{1,15}$/.test(expired) || rest.length > 0) {
      throw new TypeError(
        `Line ${index + 1} of the file of retired keys is not of the form "ed25519 <name> <base64 of 32 bytes> <milliseconds>".`,
      );
    }
    const keyId = `ed25519:${version}`;
    if (!keys.has(keyId)) keys.set(keyId, { keyId, publicKey: withoutPadding(publicKey), expiredAt: Number(expired) });
  }
  return [...keys.values()];
}
