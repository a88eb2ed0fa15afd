import { sql, type Database, type Tx } from '../database.ts';

/** A session with what authenticating its user needs. */
export interface SessionRecord {
  readonly sessionId: string;
  readonly userId: string;
  /** Null for a session in which an administrator acts as the user. */
  readonly deviceId: string | null;
  /** The administrator who acts as the user, if it is not the user. */
  readonly actingAdmin: string | null;
  /** The newest generation of tokens that the client is known to have received. */
  readonly generation: number;
  readonly isGuest: boolean;
  readonly admin: boolean;
  readonly locked: boolean;
  readonly suspended: boolean;
  readonly deactivated: boolean;
  readonly rateLimitExempt: boolean;
  /** When the account expires; null for never. */
  readonly accountExpiresTs: number | null;
}

export interface RefreshTokenRecord {
  readonly sessionId: string;
  readonly userId: string;
  readonly deviceId: string;
  /** The generation of the token that was asked for. */
  readonly tokenGeneration: number;
  /** The newest generation that the client is known to have. */
  readonly generation: number;
  /** When the token was made. */
  readonly createdTs: number;
  readonly locked: boolean;
}

const OF_ACCOUNT = `a.is_guest as "isGuest", a.admin, a.locked, a.suspended, a.deactivated,
     a.rate_limit_exempt as "rateLimitExempt", a.expires_ts as "accountExpiresTs"`;
const SELECT_SESSION = sql(
  'session_select',
  `select s.session_id as "sessionId", s.user_id as "userId", s.device_id as "deviceId", null as "actingAdmin", s.generation, ${OF_ACCOUNT}
   from sessions s join accounts a using (user_id) where s.session_id = $1`,
);
const SELECT_ADMIN_SESSION = sql(
  'admin_login_session_select',
  `select l.session_id as "sessionId", l.user_id as "userId", null as "deviceId", l.admin as "actingAdmin", 0 as generation, ${OF_ACCOUNT}
   from admin_logins l join accounts a using (user_id) where l.session_id = $1`,
);
const DELETE_SESSION = sql(
  'session_delete',
  `delete from sessions where user_id = $1 and device_id = $2 returning session_id as "sessionId"`,
);
const INSERT_SESSION = sql(
  'session_insert',
  `insert into sessions (session_id, user_id, device_id, created_ts) values ($1, $2, $3, $4)`,
);
// The row lock makes two refreshes with one token wait for each other.
const SELECT_REFRESH = sql(
  'refresh_token_select',
  `select s.session_id as "sessionId", s.user_id as "userId", s.device_id as "deviceId", r.generation as "tokenGeneration",
     s.generation, r.created_ts as "createdTs", a.locked
   from refresh_tokens r join sessions s using (session_id) join accounts a on a.user_id = s.user_id
   where r.token_hash = $1 for update of s`,
);
const INSERT_REFRESH = sql(
  'refresh_token_insert',
  `insert into refresh_tokens (token_hash, session_id, generation, created_ts) values ($1, $2, $3, $4)`,
);
const DELETE_REFRESH = sql(
  'refresh_token_delete',
  `delete from refresh_tokens where session_id = $1 and (generation < $2 or (generation = $3 and created_ts < $4))`,
);
const CONFIRM_GENERATION = sql(
  'session_confirm',
  `update sessions set generation = $2 where session_id = $1 and generation < $2`,
);

export const findSession = async (database: Database, sessionId: string): Promise<SessionRecord | undefined> =>
  (await database.query<SessionRecord>(SELECT_SESSION, [sessionId]))[0];

/** A session in which an administrator acts as the user. */
export const findAdminSession = async (database: Database, sessionId: string): Promise<SessionRecord | undefined> =>
  (await database.query<SessionRecord>(SELECT_ADMIN_SESSION, [sessionId]))[0];

/** Makes the session of a device, instead of the one it had; returns the id of that one. */
export const replaceSession = async (
  tx: Tx,
  session: {
    readonly sessionId: string;
    readonly userId: string;
    readonly deviceId: string;
    readonly createdTs: number;
  },
): Promise<string | undefined> => {
  const [replaced] = await tx.query<{ sessionId: string }>(DELETE_SESSION, [session.userId, session.deviceId]);
  await tx.query(INSERT_SESSION, [session.sessionId, session.userId, session.deviceId, session.createdTs]);
  return replaced?.sessionId;
};

/** The refresh token with this hash and its session, which is locked until the transaction ends. */
export const findRefreshToken = async (tx: Tx, hash: Buffer): Promise<RefreshTokenRecord | undefined> =>
  (await tx.query<RefreshTokenRecord>(SELECT_REFRESH, [hash]))[0];

export const insertRefreshToken = async (
  tx: Tx,
  token: { readonly hash: Buffer; readonly sessionId: string; readonly generation: number; readonly createdTs: number },
): Promise<void> => {
  await tx.query(INSERT_REFRESH, [token.hash, token.sessionId, token.generation, token.createdTs]);
};

/** Deletes tokens older than a generation, and those of one generation made before a time. */
export const deleteRefreshTokens = async (
  tx: Tx,
  sessionId: string,
  bounds: { readonly olderThanGeneration: number; readonly generation: number; readonly madeBefore: number },
): Promise<void> => {
  await tx.query(DELETE_REFRESH, [sessionId, bounds.olderThanGeneration, bounds.generation, bounds.madeBefore]);
};

/** Notes that the client has received the tokens of a generation: earlier ones become invalid. */
export const confirmGeneration = async (
  on: Pick<Tx, 'query'> | Database,
  sessionId: string,
  generation: number,
): Promise<void> => {
  await on.query(CONFIRM_GENERATION, [sessionId, generation]);
};
