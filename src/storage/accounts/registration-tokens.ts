import { sql, type Database, type Tx } from '../database.ts';

export interface RegistrationTokenRecord {
  readonly token: string;
  /** How many accounts can be registered with it; null for any number. */
  readonly usesAllowed: number | null;
  readonly completed: number;
  /** Milliseconds since the epoch; null for never. */
  readonly expiryTs: number | null;
  readonly createdTs: number;
}

const VALID = `token = $1 and (expiry_ts is null or expiry_ts > $2) and (uses_allowed is null or completed < uses_allowed)`;
const SELECT_VALID = sql('registration_token_valid', `select 1 from registration_tokens where ${VALID}`);
const USE_TOKEN = sql(
  'registration_token_use',
  `update registration_tokens set completed = completed + 1 where ${VALID} returning 1`,
);

const INSERT = sql(
  'registration_token_insert',
  `insert into registration_tokens (token, uses_allowed, completed, expiry_ts, created_ts) values ($1, $2, $3, $4, $5)
   on conflict do nothing returning 1`,
);

const COLUMNS = 'token, uses_allowed as "usesAllowed", completed, expiry_ts as "expiryTs", created_ts as "createdTs"';
const FIND = sql('registration_token_find', `select ${COLUMNS} from registration_tokens where token = $1`);
const LOCK = sql('registration_token_lock', `select ${COLUMNS} from registration_tokens where token = $1 for update`);
const COUNT = sql('registration_tokens_count', 'select count(*)::int as count from registration_tokens');

export const countRegistrationTokens = async (tx: Tx): Promise<number> =>
  (await tx.query<{ count: number }>(COUNT))[0]?.count ?? 0;

/** Whether an account could be registered with the token at the time `now`. */
export const isValidRegistrationToken = async (database: Database, token: string, now: number): Promise<boolean> =>
  (await database.query(SELECT_VALID, [token, now])).length > 0;

/** Counts one use; false if the token is not valid (any more). Two registrations cannot share a last use. */
export const consumeRegistrationToken = async (tx: Tx, token: string, now: number): Promise<boolean> =>
  (await tx.query(USE_TOKEN, [token, now])).length > 0;

/** Returns false if there is such a token already. */
export const insertRegistrationToken = async (tx: Tx, token: RegistrationTokenRecord): Promise<boolean> => {
  const { completed, createdTs, expiryTs, token: text, usesAllowed } = token;
  return (await tx.query(INSERT, [text, usesAllowed, completed, expiryTs, createdTs])).length > 0;
};

const recordOf = (token: {
  readonly token: string;
  readonly usesAllowed?: number | null | undefined;
  readonly completed: number;
  readonly expiryTs?: number | null | undefined;
  readonly createdTs: number;
}): RegistrationTokenRecord => ({
  token: token.token,
  usesAllowed: token.usesAllowed ?? null,
  completed: token.completed,
  expiryTs: token.expiryTs ?? null,
  createdTs: token.createdTs,
});

export const listRegistrationTokens = async (tx: Tx): Promise<RegistrationTokenRecord[]> => {
  const { em, RegistrationTokenEntity } = await tx.entities();
  return (await em.find(RegistrationTokenEntity, {}, { orderBy: { createdTs: 'asc' } })).map(recordOf);
};

export const findRegistrationToken = async (tx: Tx, token: string): Promise<RegistrationTokenRecord | undefined> => {
  const [found] = await tx.query<RegistrationTokenRecord>(FIND, [token]);
  return found;
};

/** The token, locked until the transaction ends. */
export const lockRegistrationToken = async (tx: Tx, token: string): Promise<RegistrationTokenRecord | undefined> => {
  const [found] = await tx.query<RegistrationTokenRecord>(LOCK, [token]);
  return found;
};

/** Changes the members that are not undefined; returns the changed token, or undefined when there is none. */
export const updateRegistrationToken = async (
  tx: Tx,
  token: string,
  changes: { readonly usesAllowed?: number | null | undefined; readonly expiryTs?: number | null | undefined },
): Promise<RegistrationTokenRecord | undefined> => {
  const { em, RegistrationTokenEntity } = await tx.entities();
  const given = Object.fromEntries(Object.entries(changes).filter(([, value]) => value !== undefined));
  if (Object.keys(given).length > 0) await em.nativeUpdate(RegistrationTokenEntity, { token }, given);
  return findRegistrationToken(tx, token);
};

/** Returns whether there was such a token. */
export const deleteRegistrationToken = async (tx: Tx, token: string): Promise<boolean> => {
  const { em, RegistrationTokenEntity } = await tx.entities();
  return (await em.nativeDelete(RegistrationTokenEntity, { token })) > 0;
};
