import { type Errcode, MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isJsonObject, type JsonObject } from '#src/protocol/json/json-value.ts';
import { signaturesOf, signedText, verifyText } from '#src/protocol/signing/json-signatures.ts';
import { importVerifyKey, type VerifyKey } from '#src/protocol/signing/signing-key.ts';
import type { Database } from '#src/storage/database.ts';
import {
  type CrossSigningKeyRecord,
  crossSigningKeysOf,
  insertKeySignatures,
  type KeySignatureRecord,
} from '#src/storage/e2ee/cross-signing-keys.ts';
import { type DeviceKeysRecord, deviceKeysOfUsers } from '#src/storage/e2ee/device-keys.ts';
import { DEFAULT_TIMEOUT_MS, type RemoteKeys } from '../device-keys/remote-keys.ts';
import type { DeviceListChanges } from '../device-lists/device-list-changes.ts';

/** Keys that one request may sign. */
export const MAX_SIGNED = 1_000;
/** Signatures of one key in one request. */
export const MAX_SIGNATURES = 20;

/** Why a signed key was not accepted, as it stands in the answer. */
export interface SignatureFailure {
  readonly errcode: Errcode;
  readonly error: string;
}

/** User -> device id or public key -> why its signatures were not accepted. */
export type SignatureFailures = Record<string, Record<string, SignatureFailure>>;

export interface SignatureUploadOptions {
  readonly database: Database;
  readonly changes: DeviceListChanges;
  readonly isLocal: (userId: string) => boolean;
  readonly remote: RemoteKeys;
}

/** A key of which signatures were uploaded, as it is stored. */
interface SignedKey {
  readonly content: JsonObject;
  /** Which of the signer's keys may sign it: key id -> how to verify. */
  readonly signers: ReadonlyMap<string, VerifyKey>;
}

/** The keys of all users whose keys are signed in one request, and of the signer. */
interface KnownKeys {
  readonly crossSigning: readonly CrossSigningKeyRecord[];
  readonly devices: readonly DeviceKeysRecord[];
}

/** Verifies and stores uploaded signatures of keys. Client-Server API, `POST /keys/signatures/upload`. */
export class SignatureUpload {
  readonly #options: SignatureUploadOptions;

  constructor(options: SignatureUploadOptions) {
    this.#options = options;
  }

  /**
   * Stores what a user signed: their own devices with the self-signing key, their own master key with a device, the master keys of
   * others with the user-signing key.
   *
   * @param signed user -> device id or public key -> the key with the new signatures
   * @returns what was not accepted, and why; everything else was
   * @throws MatrixError M_BAD_JSON, M_TOO_LARGE
   */
  async upload(signer: string, signed: JsonObject): Promise<SignatureFailures> {
    const wanted = Object.entries(signed).flatMap(([userId, keys]) => {
      if (!isJsonObject(keys)) throw new MatrixError('M_BAD_JSON', 'The signed keys of a user must be an object.');
      return Object.entries(keys).map(([target, key]) => ({ userId, target, key }));
    });
    if (wanted.length > MAX_SIGNED)
      throw new MatrixError('M_TOO_LARGE', `One request can carry signatures of ${MAX_SIGNED} keys at most.`);
    if (wanted.length === 0) return {};
    const { changes, database, isLocal, remote } = this.#options;
    const userIds = [...new Set([signer, ...wanted.map(({ userId }) => userId)])];
    const [crossSigning, devices, remoteKeys] = await Promise.all([
      crossSigningKeysOf(database, userIds),
      deviceKeysOfUsers(database, [signer]),
      remote.ask(DEFAULT_TIMEOUT_MS, undefined, (questions) =>
        questions.masterKeys(userIds.filter((id) => !isLocal(id))),
      ),
    ]);
    const known: KnownKeys = { crossSigning: [...crossSigning, ...remoteKeys], devices };
    const failures: SignatureFailures = {};
    const accepted: Omit<KeySignatureRecord, 'signer'>[] = [];
    for (const { userId, target, key } of wanted) {
      try {
        for (const [keyId, signature] of judge(signer, userId, target, key, known))
          accepted.push({ userId, target, keyId, signature });
      } catch (error) {
        if (!(error instanceof MatrixError)) throw error;
        (failures[userId] ??= {})[target] = { errcode: error.errcode, error: error.message };
      }
    }
    if (accepted.length > 0) {
      await database.write(async (tx) => {
        const changed = new Set(await insertKeySignatures(tx, signer, accepted));
        if (changed.has(signer)) await changes.mark(tx, signer);
        await changes.markSigned(
          tx,
          signer,
          [...changed].filter((userId) => userId !== signer),
        );
      });
      await Promise.all([...new Set(accepted.map(({ userId }) => userId))].map((userId) => changes.published(userId)));
    }
    return failures;
  }
}

/** The signatures of one key that are new. @throws MatrixError saying why they are not accepted */
const judge = (
  signer: string,
  userId: string,
  target: string,
  key: unknown,
  known: KnownKeys,
): ReadonlyMap<string, string> => {
  if (!isJsonObject(key)) throw new MatrixError('M_BAD_JSON', 'A signed key must be an object.');
  const stored = userId === signer ? ownKey(signer, target, known) : otherMasterKey(signer, userId, target, known);
  if (stored === undefined) throw new MatrixError('M_NOT_FOUND', 'There is no such key, or you cannot sign it.');
  // "The signed JSON object must match the key previously uploaded or retrieved for the given key ID, with the exception of the
  // signatures property".
  const text = signedText(key, 'lenient');
  if (text !== signedText(stored.content, 'lenient'))
    throw new MatrixError('M_INVALID_SIGNATURE', 'This is not the key as it was uploaded.');
  const there = signaturesOf(stored.content, signer);
  const given = [...signaturesOf(key, signer)].filter(([keyId, signature]) => there.get(keyId) !== signature);
  if (given.length > MAX_SIGNATURES)
    throw new MatrixError('M_TOO_LARGE', `A key can get ${MAX_SIGNATURES} signatures in one request at most.`);
  if (signaturesOf(key, signer).size === 0)
    throw new MatrixError('M_INVALID_SIGNATURE', 'The key has no signature of yours.');
  for (const [keyId, signature] of given) {
    const verifyKey = stored.signers.get(keyId);
    if (verifyKey === undefined)
      throw new MatrixError('M_INVALID_SIGNATURE', `${keyId} is no key of yours that can sign this one.`);
    if (!verifyText(text, signature, verifyKey))
      throw new MatrixError('M_INVALID_SIGNATURE', `The signature by ${keyId} is not right.`);
  }
  return new Map(given);
};

/** One of the signer's own keys: a device is signed by the self-signing key, the master key by a device. */
const ownKey = (signer: string, target: string, { crossSigning, devices }: KnownKeys): SignedKey | undefined => {
  const device = devices.find(({ deviceId }) => deviceId === target);
  if (device !== undefined) {
    const signers = verifyKeyOf(signer, 'self_signing', crossSigning);
    return { content: JSON.parse(device.content) as JsonObject, signers };
  }
  const master = crossSigning.find((key) => key.userId === signer && key.usage === 'master');
  if (master?.publicKey !== target) return undefined;
  const signers = new Map<string, VerifyKey>();
  for (const { deviceId, content } of devices) {
    const { keys } = JSON.parse(content) as JsonObject;
    const publicKey = isJsonObject(keys) ? keys[`ed25519:${deviceId}`] : undefined;
    const verifyKey = typeof publicKey === 'string' ? importVerifyKey(publicKey) : undefined;
    if (verifyKey !== undefined) signers.set(`ed25519:${deviceId}`, verifyKey);
  }
  return { content: JSON.parse(master.content) as JsonObject, signers };
};

/** Another user's master key, which one's own user-signing key signs. */
const otherMasterKey = (
  signer: string,
  userId: string,
  target: string,
  { crossSigning }: KnownKeys,
): SignedKey | undefined => {
  const master = crossSigning.find((key) => key.userId === userId && key.usage === 'master');
  if (master?.publicKey !== target) return undefined;
  return {
    content: JSON.parse(master.content) as JsonObject,
    signers: verifyKeyOf(signer, 'user_signing', crossSigning),
  };
};

const verifyKeyOf = (
  userId: string,
  usage: CrossSigningKeyRecord['usage'],
  crossSigning: readonly CrossSigningKeyRecord[],
): ReadonlyMap<string, VerifyKey> => {
  const key = crossSigning.find((own) => own.userId === userId && own.usage === usage);
  const verifyKey = key === undefined ? undefined : importVerifyKey(key.publicKey);
  return key === undefined || verifyKey === undefined ? new Map() : new Map([[`ed25519:${key.publicKey}`, verifyKey]]);
};
