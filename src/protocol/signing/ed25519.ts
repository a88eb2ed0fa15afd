import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { createRequire } from 'node:module';

/** Ed25519 (RFC 8032), on bytes. */
export interface Ed25519 {
  /** @param seed 32 bytes */
  keyPairOf(seed: Uint8Array): KeyPair;
  /** @returns 64 bytes */
  sign(message: Uint8Array, secretKey: Uint8Array): Buffer;
  /** @param signature 64 bytes. @param publicKey 32 bytes */
  verify(message: Uint8Array, signature: Uint8Array, publicKey: Uint8Array): boolean;
}

export interface KeyPair {
  readonly publicKey: Uint8Array;
  /** The seed and the public key, 64 bytes. */
  readonly secretKey: Uint8Array;
}

export const SEED_BYTES = 32;
export const PUBLIC_KEY_BYTES = 32;
export const SIGNATURE_BYTES = 64;

/** What we use of sodium-native, which has no types of its own. */
interface Sodium {
  crypto_sign_seed_keypair(publicKey: Uint8Array, secretKey: Uint8Array, seed: Uint8Array): void;
  crypto_sign_detached(signature: Uint8Array, message: Uint8Array, secretKey: Uint8Array): void;
  crypto_sign_verify_detached(signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): boolean;
}

/** @throws where sodium-native is not built for this platform */
export const sodiumEd25519 = (): Ed25519 => {
  const sodium = createRequire(import.meta.url)('sodium-native') as Sodium;
  return {
    keyPairOf(seed) {
      const publicKey = Buffer.alloc(PUBLIC_KEY_BYTES);
      const secretKey = Buffer.alloc(SEED_BYTES + PUBLIC_KEY_BYTES);
      sodium.crypto_sign_seed_keypair(publicKey, secretKey, seed);
      return { publicKey, secretKey };
    },
    sign(message, secretKey) {
      const signature = Buffer.allocUnsafe(SIGNATURE_BYTES);
      sodium.crypto_sign_detached(signature, message, secretKey);
      return signature;
    },
    verify: (message, signature, publicKey) => sodium.crypto_sign_verify_detached(signature, message, publicKey),
  };
};

// The DER that surrounds the 32 bytes of a key (RFC 8410) in PKCS #8 and in SubjectPublicKeyInfo.
const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');

/** OpenSSL's, as Node has it. */
export const nodeEd25519 = (): Ed25519 => {
  // Importing a key costs more than using it.
  const imported = new WeakMap<Uint8Array, KeyObject>();
  const keyOf = (bytes: Uint8Array, make: () => KeyObject): KeyObject => {
    const known = imported.get(bytes) ?? make();
    imported.set(bytes, known);
    return known;
  };
  const privateKeyOf = (seed: Uint8Array): KeyObject =>
    createPrivateKey({ key: Buffer.concat([PKCS8_PREFIX, seed]), format: 'der', type: 'pkcs8' });
  const publicKeyOf = (bytes: Uint8Array): KeyObject =>
    createPublicKey({ key: Buffer.concat([SPKI_PREFIX, bytes]), format: 'der', type: 'spki' });
  return {
    keyPairOf(seed) {
      const spki = createPublicKey(privateKeyOf(seed)).export({ format: 'der', type: 'spki' });
      const publicKey = spki.subarray(SPKI_PREFIX.length);
      return { publicKey, secretKey: Buffer.concat([seed, publicKey]) };
    },
    sign: (message, secretKey) =>
      sign(
        null,
        message,
        keyOf(secretKey, () => privateKeyOf(secretKey.subarray(0, SEED_BYTES))),
      ),
    verify: (message, signature, publicKey) =>
      verify(
        null,
        message,
        keyOf(publicKey, () => publicKeyOf(publicKey)),
        signature,
      ),
  };
};

let chosen: Ed25519 | undefined;

/**
 * libsodium, with which most servers of the federation verify too, or OpenSSL where it is not built for this platform. Loaded by the first
 * call: see docs/decisions/0003-cryptography.md.
 */
export const ed25519 = (): Ed25519 => {
  if (chosen === undefined) {
    try {
      chosen = sodiumEd25519();
    } catch {
      chosen = nodeEd25519();
    }
  }
  return chosen;
};
