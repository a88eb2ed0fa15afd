import { type Database, sql, type Tx } from '../database.ts';

/** A session in which an administrator acts as a user. */
export interface AdminLoginRecord {
  readonly sessionId: string;
  readonly userId: string;
  readonly admin: string;
  /** Milliseconds since the epoch. */
  readonly createdTs: number;
  /** When its token expires, likewise; null for never. */
  readonly expiresTs: number | null;
}

const COLUMNS = `session_id as "sessionId", user_id as "userId", admin, created_ts as "createdTs", expires_ts as "expiresTs"`;
const INSERT = sql(
  'admin_login_insert',
  'insert into admin_logins (session_id, user_id, admin, created_ts, expires_ts) values ($1, $2, $3, $4, $5)',
);
const LIST = sql(
  'admin_logins_of_user',
  `select ${COLUMNS} from admin_logins where user_id = $1 and coalesce(expires_ts > $2, true) order by created_ts, session_id`,
);
const DELETE = sql(
  'admin_login_delete',
  `delete from admin_logins where session_id = $1 and user_id = $2 returning ${COLUMNS}`,
);
const DELETE_OF = sql(
  'admin_logins_delete_of',
  `delete from admin_logins where admin = $1 or ($2 and user_id = $1) returning ${COLUMNS}`,
);
const DELETE_OLDEST = sql(
  'admin_logins_delete_oldest',
  `delete from admin_logins where session_id in (
     select session_id from admin_logins where user_id = $1 order by created_ts desc, session_id offset $2
   ) returning ${COLUMNS}`,
);
const DELETE_EXPIRED = sql(
  'admin_logins_delete_expired',
  `delete from admin_logins where session_id in (select session_id from admin_logins where expires_ts <= $1 limit $2) returning 1`,
);

export const insertAdminLogin = async (tx: Tx, login: AdminLoginRecord): Promise<void> => {
  await tx.query(INSERT, [login.sessionId, login.userId, login.admin, login.createdTs, login.expiresTs]);
};

/** The logins as a user whose tokens are valid, the oldest first. */
export const listAdminLogins = (database: Database, userId: string, now: number): Promise<AdminLoginRecord[]> =>
  database.query<AdminLoginRecord>(LIST, [userId, now]);

/** @returns it, if it was there */
export const deleteAdminLogin = async (
  tx: Tx,
  sessionId: string,
  userId: string,
): Promise<AdminLoginRecord | undefined> => (await tx.query<AdminLoginRecord>(DELETE, [sessionId, userId]))[0];

/** Deletes the logins of an administrator, and those as this user too if wanted. @returns them */
export const deleteAdminLoginsOf = (tx: Tx, userId: string, asUserToo: boolean): Promise<AdminLoginRecord[]> =>
  tx.query<AdminLoginRecord>(DELETE_OF, [userId, asUserToo]);

/** Deletes the oldest logins as a user, so that no more than some are left. @returns them */
export const deleteOldestAdminLogins = (tx: Tx, userId: string, keep: number): Promise<AdminLoginRecord[]> =>
  tx.query<AdminLoginRecord>(DELETE_OLDEST, [userId, keep]);

/** @returns how many */
export const deleteExpiredAdminLogins = async (database: Database, now: number, limit: number): Promise<number> =>
  (await database.query(DELETE_EXPIRED, [now, limit])).length;
