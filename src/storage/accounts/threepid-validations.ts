import { type Database, sql, type Tx } from '../database.ts';
import type { AddressKey } from './account-threepids.ts';

/** A session in which a user proves the ownership of an address. */
export interface ValidationRecord extends AddressKey {
  readonly sid: string;
  /** Its purpose: `register`, `add` or `reset`. */
  readonly purpose: string;
  readonly sendAttempt: number;
  readonly nextLink: string | null;
  readonly language: string;
  readonly wrongTokens: number;
  /** Milliseconds since the epoch. */
  readonly expiresTs: number;
  readonly validatedTs: number | null;
}

export interface ValidationRequest extends AddressKey {
  /** For a session that is new. */
  readonly sid: string;
  readonly purpose: string;
  readonly secretHash: Buffer;
  readonly sendAttempt: number;
  readonly nextLink: string | null;
  readonly language: string;
  readonly now: number;
  readonly expiresTs: number;
}

const COLUMNS = `sid, purpose, medium, address, send_attempt as "sendAttempt", next_link as "nextLink", language,
  wrong_tokens as "wrongTokens", expires_ts as "expiresTs", validated_ts as "validatedTs"`;

const FORGET = sql(
  'threepid_validation_forget',
  `delete from threepid_validations
   where purpose = $1 and medium = $2 and address = $3 and secret_hash = $4 and expires_ts <= $5`,
);
// An attempt that is not greater than the last one changes nothing, and says so by returning nothing.
const ASK = sql(
  'threepid_validation_ask',
  `insert into threepid_validations as v
     (sid, purpose, medium, address, secret_hash, send_attempt, next_link, language, created_ts, expires_ts)
   values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
   on conflict (purpose, medium, address, secret_hash) do update set send_attempt = excluded.send_attempt,
     next_link = excluded.next_link, language = excluded.language, wrong_tokens = 0,
     expires_ts = greatest(v.expires_ts, excluded.expires_ts)
   where v.send_attempt < excluded.send_attempt
   returning sid`,
);
const KNOWN = sql(
  'threepid_validation_known',
  `select sid from threepid_validations where purpose = $1 and medium = $2 and address = $3 and secret_hash = $4`,
);
const FIND = sql('threepid_validation_find', `select ${COLUMNS} from threepid_validations where sid = $1`);
const VALIDATED = sql(
  'threepid_validation_validated',
  `select ${COLUMNS} from threepid_validations
   where sid = $1 and secret_hash = $2 and purpose = $3 and validated_ts is not null and expires_ts > $4`,
);
const CONFIRM = sql(
  'threepid_validation_confirm',
  `update threepid_validations set validated_ts = coalesce(validated_ts, $2), expires_ts = greatest(expires_ts, $3)
   where sid = $1 and expires_ts > $2 returning 1`,
);
const MISS = sql(
  'threepid_validation_miss',
  'update threepid_validations set wrong_tokens = wrong_tokens + 1 where sid = $1',
);
const CONSUME = sql(
  'threepid_validation_consume',
  `delete from threepid_validations where sid = $1 and purpose = $2 and validated_ts is not null and expires_ts > $3
   returning ${COLUMNS}`,
);
const CLEAN = sql(
  'threepid_validations_clean',
  `delete from threepid_validations where sid = any(array(
     select sid from threepid_validations where expires_ts <= $1 limit $2
   )) returning 1`,
);

/**
 * Stores a session, one for each address, secret and purpose.
 *
 * @returns the session, and whether a mail is to be sent: not for an attempt that is not greater than the last one
 */
export const askForValidation = async (
  tx: Tx,
  request: ValidationRequest,
): Promise<{ readonly sid: string; readonly isNewAttempt: boolean }> => {
  const { sid, purpose, medium, address, secretHash, sendAttempt, nextLink, language, now, expiresTs } = request;
  const key = [purpose, medium, address, secretHash];
  await tx.query(FORGET, [...key, now]);
  const [asked] = await tx.query<{ sid: string }>(ASK, [sid, ...key, sendAttempt, nextLink, language, now, expiresTs]);
  if (asked !== undefined) return { sid: asked.sid, isNewAttempt: true };
  const [known] = await tx.query<{ sid: string }>(KNOWN, key);
  return { sid: known?.sid ?? sid, isNewAttempt: false };
};

export const findValidation = async (database: Database, sid: string): Promise<ValidationRecord | undefined> =>
  (await database.query<ValidationRecord>(FIND, [sid]))[0];

/** The session, if its address was confirmed for the holder of the secret. */
export const validatedSession = async (
  database: Database,
  sid: string,
  secretHash: Buffer,
  purpose: string,
  now: number,
): Promise<ValidationRecord | undefined> =>
  (await database.query<ValidationRecord>(VALIDATED, [sid, secretHash, purpose, now]))[0];

/** Notes that the address was validated. Returns whether the session still exists. */
export const confirmValidation = async (
  database: Database,
  sid: string,
  now: number,
  expiresTs: number,
): Promise<boolean> => (await database.query(CONFIRM, [sid, now, expiresTs])).length > 0;

export const countWrongToken = async (database: Database, sid: string): Promise<void> => {
  await database.query(MISS, [sid]);
};

/** Deletes a validated session: it can be used once. */
export const consumeValidation = async (
  tx: Tx,
  sid: string,
  purpose: string,
  now: number,
): Promise<ValidationRecord | undefined> => (await tx.query<ValidationRecord>(CONSUME, [sid, purpose, now]))[0];

/** Deletes up to `limit` sessions that have expired. @returns how many */
export const deleteExpiredValidations = async (database: Database, now: number, limit: number): Promise<number> =>
  (await database.query(CLEAN, [now, limit])).length;
