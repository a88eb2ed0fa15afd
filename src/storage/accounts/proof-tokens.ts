import { sql, type Database, type Tx } from '../database.ts';

export interface ProofToken {
  readonly hash: Buffer;
  readonly userId: string;
  /** Milliseconds since the epoch. */
  readonly expiresTs: number;
}

const OPENID_SWEEP = sql('openid_tokens_sweep', 'delete from openid_tokens where expires_ts <= $1');
const OPENID_INSERT = sql(
  'openid_token_insert',
  'insert into openid_tokens (token_hash, user_id, expires_ts) values ($1, $2, $3)',
);
const OPENID_USER = sql(
  'openid_token_user',
  `select t.user_id as "userId" from openid_tokens t join accounts a using (user_id)
   where t.token_hash = $1 and t.expires_ts > $2 and not a.deactivated and not a.locked`,
);
const LOGIN_SWEEP = sql('login_tokens_sweep', 'delete from login_tokens where expires_ts <= $1');
const LOGIN_INSERT = sql(
  'login_token_insert',
  'insert into login_tokens (token_hash, user_id, expires_ts) values ($1, $2, $3)',
);
// Deleting is taking: of two logins with one token, one finds nothing.
const LOGIN_TAKE = sql('login_token_take', 'delete from login_tokens where token_hash = $1 returning 1');
const LOGIN_FIND = sql(
  'login_token_find',
  'select user_id as "userId", expires_ts as "expiresTs" from login_tokens where token_hash = $1',
);

const DELETE_OF_USER = sql(
  'proof_tokens_delete_of_user',
  'with openid as (delete from openid_tokens where user_id = $1) delete from login_tokens where user_id = $1',
);

const LOGIN_DELETE = sql('login_tokens_delete', 'delete from login_tokens where user_id = $1');

/** Deletes the login tokens of a user whose devices are logged out: none of them may come back by one. */
export const deleteLoginTokens = async (tx: Tx, userId: string): Promise<void> => {
  await tx.query(LOGIN_DELETE, [userId]);
};

/** Deletes the OpenID and login tokens of a user. */
export const deleteProofTokens = async (tx: Tx, userId: string): Promise<void> => {
  await tx.query(DELETE_OF_USER, [userId]);
};

/** Stores an OpenID token, and deletes those that have expired. */
export const insertOpenIdToken = async (tx: Tx, token: ProofToken, now: number): Promise<void> => {
  await tx.query(OPENID_SWEEP, [now]);
  await tx.query(OPENID_INSERT, [token.hash, token.userId, token.expiresTs]);
};

/** The owner of an OpenID token, while it is valid and the account can be used. */
export const userOfOpenIdToken = async (database: Database, hash: Buffer, now: number): Promise<string | undefined> =>
  (await database.query<{ userId: string }>(OPENID_USER, [hash, now]))[0]?.userId;

/** Stores a login token, and deletes those that have expired. */
export const insertLoginToken = async (tx: Tx, token: ProofToken, now: number): Promise<void> => {
  await tx.query(LOGIN_SWEEP, [now]);
  await tx.query(LOGIN_INSERT, [token.hash, token.userId, token.expiresTs]);
};

/** The owner and the expiry of a login token; undefined for an invalid one. */
export const findLoginToken = async (database: Database, hash: Buffer): Promise<Omit<ProofToken, 'hash'> | undefined> =>
  (await database.query<Omit<ProofToken, 'hash'>>(LOGIN_FIND, [hash]))[0];

/** Deletes a login token: it can be used once. @returns whether it existed */
export const takeLoginToken = async (tx: Tx, hash: Buffer): Promise<boolean> =>
  (await tx.query(LOGIN_TAKE, [hash])).length > 0;
