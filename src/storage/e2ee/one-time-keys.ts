import type { Database, Tx } from '../database.ts';
import { sql } from '../statement.ts';

/** A one-time or fallback key of a device, without its algorithm's name. */
export interface KeyRow {
  readonly algorithm: string;
  readonly keyId: string;
  /** The key object, or string, as JSON. */
  readonly content: string;
}

/** The device and algorithm for which a key is claimed. */
export interface WantedKey {
  readonly userId: string;
  readonly deviceId: string;
  readonly algorithm: string;
}

export interface ClaimedKey extends WantedKey, KeyRow {
  readonly isFallback: boolean;
}

/** The remaining one-time and fallback keys of a device. */
export interface KeyCountRecord {
  readonly algorithm: string;
  /** Unclaimed one-time keys. */
  readonly count: number;
  readonly hasUnusedFallback: boolean;
}

/** A key that has the name of one that is uploaded. */
export interface ExistingKey extends KeyRow {
  readonly isClaimed: boolean;
}

/** Claimed keys of a device that are remembered. */
const MAX_CLAIMED = 100;

const LOCK_DEVICE = sql(
  'one_time_keys_lock',
  'select 1 from devices where user_id = $1 and device_id = $2 for no key update',
);
const EXISTING = sql(
  'one_time_keys_existing',
  `select algorithm, key_id as "keyId", content, claimed as "isClaimed" from one_time_keys
   where user_id = $1 and device_id = $2 and (algorithm, key_id) in (select * from unnest($3::text[], $4::text[]))`,
);
// Of claimed keys so many are remembered, and none whose name a new key is to have.
const FORGET = sql(
  'one_time_keys_forget',
  `delete from one_time_keys where user_id = $1 and device_id = $2 and claimed and (
     (algorithm, key_id) in (select * from unnest($3::text[], $4::text[]))
     or nid <= (select nid from one_time_keys where user_id = $1 and device_id = $2 and claimed order by nid desc offset ${MAX_CLAIMED} limit 1))`,
);
// The order of the arrays is the order in which the keys will be claimed.
const INSERT = sql(
  'one_time_keys_insert',
  `insert into one_time_keys (user_id, device_id, algorithm, key_id, content)
   select $1, $2, k.algorithm, k.key_id, k.content
   from unnest($3::text[], $4::text[], $5::text[]) with ordinality k(algorithm, key_id, content, n) order by k.n`,
);
const UPSERT_FALLBACK = sql(
  'fallback_keys_upsert',
  `with fits as (
     select count(*) <= $6::int as ok from (
       select algorithm from fallback_keys where user_id = $1 and device_id = $2 union select unnest($3::text[])) a
   ), stored as (
     insert into fallback_keys (user_id, device_id, algorithm, key_id, content)
     select $1, $2, k.* from fits, unnest($3::text[], $4::text[], $5::text[]) k(algorithm, key_id, content) where ok
     on conflict (user_id, device_id, algorithm) do update set key_id = excluded.key_id, content = excluded.content, used = false
       where fallback_keys.key_id <> excluded.key_id or fallback_keys.content <> excluded.content
   ) select ok from fits`,
);
const COUNTS = sql(
  'one_time_keys_counts',
  `select algorithm, sum(n)::int as count, bool_or(unused) as "hasUnusedFallback" from (
     select algorithm, count(*)::int as n, false as unused from one_time_keys
       where user_id = $1 and device_id = $2 and not claimed group by algorithm
     union all
     select algorithm, 0, not used from fallback_keys where user_id = $1 and device_id = $2
   ) k group by algorithm order by algorithm`,
);
// Claims at the same moment take different keys: a row that is being taken is passed over.
const CLAIM = sql(
  'one_time_keys_claim',
  `with wanted as (
     select * from unnest($1::text[], $2::text[], $3::text[]) w(user_id, device_id, algorithm)
   ), picked as (
     select w.user_id, w.device_id, w.algorithm, k.nid from wanted w cross join lateral (
       select o.nid from one_time_keys o
       where o.user_id = w.user_id and o.device_id = w.device_id and o.algorithm = w.algorithm and not o.claimed
       order by o.nid limit 1 for update skip locked
     ) k
   ), taken as (
     update one_time_keys o set claimed = true from picked p
     where o.user_id = p.user_id and o.device_id = p.device_id and o.algorithm = p.algorithm and o.nid = p.nid
     returning o.user_id, o.device_id, o.algorithm, o.key_id, o.content
   ), fallen_back as (
     select f.user_id, f.device_id, f.algorithm, f.key_id, f.content, f.used from wanted w
     join fallback_keys f on f.user_id = w.user_id and f.device_id = w.device_id and f.algorithm = w.algorithm
     where not exists (
       select 1 from picked p where p.user_id = w.user_id and p.device_id = w.device_id and p.algorithm = w.algorithm)
   ), marked as (
     update fallback_keys f set used = true from fallen_back b
     where f.user_id = b.user_id and f.device_id = b.device_id and f.algorithm = b.algorithm and not f.used
   )
   select user_id as "userId", device_id as "deviceId", algorithm, key_id as "keyId", content, false as "isFallback" from taken
   union all
   select user_id, device_id, algorithm, key_id, content, true from fallen_back`,
);

const columns = (keys: readonly KeyRow[]): string[][] => [
  keys.map(({ algorithm }) => algorithm),
  keys.map(({ keyId }) => keyId),
  keys.map(({ content }) => content),
];

/** Makes uploads of one device wait for each other. Returns whether the device exists. */
export const lockDevice = async (tx: Tx, userId: string, deviceId: string): Promise<boolean> =>
  (await tx.query(LOCK_DEVICE, [userId, deviceId])).length > 0;

/** The keys of a device that have one of these names; claimed ones as far as they are remembered. */
export const existingOneTimeKeys = (
  tx: Tx,
  userId: string,
  deviceId: string,
  keys: readonly KeyRow[],
): Promise<ExistingKey[]> => {
  const [algorithms, keyIds] = columns(keys);
  return tx.query<ExistingKey>(EXISTING, [userId, deviceId, algorithms, keyIds]);
};

/** Forgets claimed keys of a device: the oldest of many, and those that have the names of new ones. */
export const forgetClaimedKeys = async (
  tx: Tx,
  userId: string,
  deviceId: string,
  fresh: readonly KeyRow[],
): Promise<void> => {
  const [algorithms, keyIds] = columns(fresh);
  await tx.query(FORGET, [userId, deviceId, algorithms, keyIds]);
};

/** Stores one-time keys after the existing ones. */
export const insertOneTimeKeys = async (
  tx: Tx,
  userId: string,
  deviceId: string,
  keys: readonly KeyRow[],
): Promise<void> => {
  await tx.query(INSERT, [userId, deviceId, ...columns(keys)]);
};

/**
 * Stores the fallback key of each algorithm, in the place of the one before. The same key again stays as used as it is.
 *
 * @param most algorithms that a device may have keys of
 * @returns false, and nothing is stored, where they would be more
 */
export const upsertFallbackKeys = async (
  tx: Tx,
  userId: string,
  deviceId: string,
  keys: readonly KeyRow[],
  most: number,
): Promise<boolean> => {
  const [row] = await tx.query<{ ok: boolean }>(UPSERT_FALLBACK, [userId, deviceId, ...columns(keys), most]);
  return row?.ok === true;
};

/** How many one-time keys a device has left, by algorithm, and where its fallback key was not used yet. */
export const countKeys = (reader: Database | Tx, userId: string, deviceId: string): Promise<KeyCountRecord[]> =>
  reader.query<KeyCountRecord>(COUNTS, [userId, deviceId]);

/**
 * Claims the oldest one-time key of each device and algorithm, once and for all; where there is none, the fallback key is
 * the answer, and counts as used from then on.
 */
export const claimKeys = (database: Database, wanted: readonly WantedKey[]): Promise<ClaimedKey[]> =>
  database.query<ClaimedKey>(CLAIM, [
    wanted.map(({ userId }) => userId),
    wanted.map(({ deviceId }) => deviceId),
    wanted.map(({ algorithm }) => algorithm),
  ]);
