import type { Database, Tx } from '../database.ts';
import { sql } from '../statement.ts';
import { lockAccount } from '../accounts/account-lock.ts';

export type CrossSigningUsage = 'master' | 'self_signing' | 'user_signing';

/** One of a user's cross-signing keys. */
export interface CrossSigningKeyRecord {
  readonly userId: string;
  readonly usage: CrossSigningUsage;
  /** Unpadded base64. */
  readonly publicKey: string;
  /** JSON, with the signatures that it was uploaded with. */
  readonly content: string;
}

/** A signature of a device or cross-signing key that was uploaded after the key. */
export interface KeySignatureRecord {
  /** The owner of the signed key. */
  readonly userId: string;
  /** A device id, or the public key of a cross-signing key. */
  readonly target: string;
  readonly signer: string;
  /** The key that signed: `ed25519:<public key or device id>`. */
  readonly keyId: string;
  readonly signature: string;
}

const OF_USERS = sql(
  'cross_signing_keys_of_users',
  `select user_id as "userId", usage, public_key as "publicKey", content from cross_signing_keys where user_id = any($1::text[])`,
);
const UPSERT = sql(
  'cross_signing_keys_upsert',
  `insert into cross_signing_keys (user_id, usage, public_key, content) select $1, k.* from unnest($2::text[], $3::text[], $4::text[]) k
   on conflict (user_id, usage) do update set public_key = excluded.public_key, content = excluded.content`,
);
const DELETE = sql(
  'cross_signing_keys_delete',
  'delete from cross_signing_keys where user_id = $1 and usage = any($2::text[])',
);
const DELETE_SIGNATURES = sql(
  'key_signatures_delete',
  'delete from key_signatures where user_id = $1 and target = any($2::text[])',
);
const INSERT_SIGNATURES = sql(
  'key_signatures_insert',
  `insert into key_signatures (user_id, target, signer, key_id, signature)
   select s.user_id, s.target, $1, s.key_id, s.signature
   from unnest($2::text[], $3::text[], $4::text[], $5::text[]) s(user_id, target, key_id, signature)
   on conflict (user_id, target, signer, key_id) do update set signature = excluded.signature
     where key_signatures.signature <> excluded.signature
   returning user_id as "userId"`,
);
// "that the requesting user is allowed to see": those that users made of their own keys, and one's own.
const VISIBLE_SIGNATURES = sql(
  'key_signatures_visible',
  `select user_id as "userId", target, signer, key_id as "keyId", signature from key_signatures
   where user_id = any($1::text[]) and (signer = user_id or signer = $2)`,
);
const GRANT = sql(
  'cross_signing_grant',
  'insert into cross_signing_grants (user_id, until_ts) values ($1, $2) on conflict (user_id) do update set until_ts = excluded.until_ts',
);
const GRANTED = sql('cross_signing_granted', 'select 1 from cross_signing_grants where user_id = $1 and until_ts > $2');

/** The cross-signing keys of these users. */
export const crossSigningKeysOf = (
  reader: Database | Tx,
  userIds: readonly string[],
): Promise<CrossSigningKeyRecord[]> => reader.query<CrossSigningKeyRecord>(OF_USERS, [userIds]);

/** Serializes changes of one user's keys. */
export const lockCrossSigning = lockAccount;

/** Stores a user's keys in the place of those that they had for the same usage. */
export const upsertCrossSigningKeys = async (
  tx: Tx,
  userId: string,
  keys: readonly Omit<CrossSigningKeyRecord, 'userId'>[],
): Promise<void> => {
  await tx.query(UPSERT, [
    userId,
    keys.map(({ usage }) => usage),
    keys.map(({ publicKey }) => publicKey),
    keys.map(({ content }) => content),
  ]);
};

/** Deletes a user's keys of these usages. */
export const deleteCrossSigningKeys = async (
  tx: Tx,
  userId: string,
  usages: readonly CrossSigningUsage[],
): Promise<void> => {
  await tx.query(DELETE, [userId, usages]);
};

/** Deletes all signatures of these keys of a user. */
export const deleteKeySignatures = async (tx: Tx, userId: string, targets: readonly string[]): Promise<void> => {
  await tx.query(DELETE_SIGNATURES, [userId, targets]);
};

/** Stores signatures by `signer`. Returns the users whose keys have new signatures. */
export const insertKeySignatures = async (
  tx: Tx,
  signer: string,
  signatures: readonly Omit<KeySignatureRecord, 'signer'>[],
): Promise<string[]> =>
  (
    await tx.query<{ userId: string }>(INSERT_SIGNATURES, [
      signer,
      signatures.map(({ userId }) => userId),
      signatures.map(({ target }) => target),
      signatures.map(({ keyId }) => keyId),
      signatures.map(({ signature }) => signature),
    ])
  ).map(({ userId }) => userId);

/** The signatures of these users' keys that a reader may see. */
export const visibleKeySignatures = (
  database: Database,
  userIds: readonly string[],
  readerId: string,
): Promise<KeySignatureRecord[]> => database.query<KeySignatureRecord>(VISIBLE_SIGNATURES, [userIds, readerId]);

/** Lets a user replace their cross-signing keys without authentication until then (milliseconds since the epoch). */
export const grantReplacement = async (tx: Tx, userId: string, untilTs: number): Promise<void> => {
  await tx.query(GRANT, [userId, untilTs]);
};

/** Whether a user may replace their cross-signing keys without authentication at this time. */
export const mayReplace = async (reader: Database | Tx, userId: string, now: number): Promise<boolean> =>
  (await reader.query(GRANTED, [userId, now])).length > 0;
