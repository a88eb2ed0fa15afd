import { sql, type Database, type Tx } from '../database.ts';

/** An account, without its password hash. */
export interface AccountRecord {
  readonly userId: string;
  readonly localpart: string;
  /** Milliseconds since the epoch. */
  readonly createdTs: number;
  readonly isGuest: boolean;
  readonly admin: boolean;
  readonly deactivated: boolean;
  readonly locked: boolean;
  readonly suspended: boolean;
  readonly shadowBanned: boolean;
  readonly erased: boolean;
  /** Exempt from rate limits. */
  readonly rateLimitExempt: boolean;
  /** Overrides of the configured rate limit for sending: rate and burst; null: as configured. */
  readonly messagesPerSecond: number | null;
  readonly messagesBurst: number | null;
  readonly appserviceId: string | null;
  readonly userType: string | null;
  /** When it expires, in milliseconds since the epoch; null for never. Applies only where accounts have to be renewed. */
  readonly expiresTs: number | null;
  /** Whether the user is told by mail that it is about to expire. */
  readonly expiryMails: boolean;
}

/** What an administrator or the user can change about an account. */
export type AccountChanges = Partial<
  Omit<AccountRecord, 'userId' | 'localpart' | 'createdTs'> & { readonly passwordHash: string | null }
>;

export interface AccountCredentials {
  readonly userId: string;
  readonly passwordHash: string | null;
  readonly deactivated: boolean;
  readonly locked: boolean;
  /** Recent IP addresses of devices of the account, newest first. */
  readonly addresses: readonly string[];
}

const COLUMNS = `user_id as "userId", localpart, created_ts as "createdTs", is_guest as "isGuest", admin, deactivated, locked,
  suspended, shadow_banned as "shadowBanned", erased, rate_limit_exempt as "rateLimitExempt",
  messages_per_second as "messagesPerSecond", messages_burst as "messagesBurst", appservice_id as "appserviceId",
  user_type as "userType", expires_ts as "expiresTs", expiry_mails as "expiryMails"`;

const SELECT_ACCOUNT = sql('account_select', `select ${COLUMNS} from accounts where user_id = $1`);
const CREDENTIALS = `select a.user_id as "userId", password_hash as "passwordHash", deactivated, locked,
     array(select d.last_seen_ip from devices d where d.user_id = a.user_id and d.last_seen_ip is not null
           order by d.last_seen_ts desc limit 50) as addresses
   from accounts a`;
const SELECT_CREDENTIALS = sql('account_credentials', `${CREDENTIALS} where user_id = any($1::text[])`);
const SELECT_CREDENTIALS_BY_ADDRESS = sql(
  'account_credentials_by_address',
  `${CREDENTIALS} join account_threepids t using (user_id) where t.medium = $1 and t.address = $2`,
);
const ADMIN_EXISTS = sql('account_admin_exists', `select 1 from accounts where admin and not deactivated limit 1`);
const ERASED = sql('accounts_erased', 'select user_id as "userId" from accounts where erased');
const SHADOW_BANNED = sql('accounts_shadow_banned', 'select user_id as "userId" from accounts where shadow_banned');
const OWN_LIMITS = sql(
  'accounts_own_limits',
  `select user_id as "userId", messages_per_second as "messagesPerSecond", messages_burst as "messagesBurst" from accounts
   where messages_per_second is not null`,
);
const INSERT_ACCOUNT = sql(
  'account_insert',
  `insert into accounts (user_id, localpart, password_hash, created_ts, is_guest, admin, appservice_id, user_type, expires_ts)
   values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict do nothing returning ${COLUMNS}`,
);
const REPLACE_HASH = sql(
  'account_replace_hash',
  `update accounts set password_hash = $3 where user_id = $1 and password_hash = $2 returning 1`,
);
// Waits for a change of the password that is under way, and makes the next one wait.
const HAS_HASH = sql('account_has_hash', 'select 1 from accounts where user_id = $1 and password_hash = $2 for share');

export const findAccount = async (database: Database, userId: string): Promise<AccountRecord | undefined> =>
  (await database.query<AccountRecord>(SELECT_ACCOUNT, [userId]))[0];

/** The accounts among `userIds`, with what logging in needs. */
export const findCredentials = (database: Database, userIds: readonly string[]): Promise<AccountCredentials[]> =>
  database.query<AccountCredentials>(SELECT_CREDENTIALS, [userIds]);

/** The account to which an address belongs, with what logging in needs. */
export const findCredentialsByAddress = async (
  database: Database,
  { medium, address }: { readonly medium: string; readonly address: string },
): Promise<AccountCredentials | undefined> =>
  (await database.query<AccountCredentials>(SELECT_CREDENTIALS_BY_ADDRESS, [medium, address]))[0];

/** Whether this server has an administrator. */
export const adminExists = async (database: Database): Promise<boolean> =>
  (await database.query(ADMIN_EXISTS)).length > 0;

/** The users whose content was erased as much as possible. */
export const erasedUsers = async (database: Database): Promise<string[]> =>
  (await database.query<{ userId: string }>(ERASED)).map(({ userId }) => userId);

/** The users who are shadow-banned. */
export const shadowBannedUsers = async (database: Database): Promise<string[]> =>
  (await database.query<{ userId: string }>(SHADOW_BANNED)).map(({ userId }) => userId);

/** The users with rate limits of their own. */
export const accountsWithOwnLimits = (
  database: Database,
): Promise<Pick<AccountRecord, 'userId' | 'messagesPerSecond' | 'messagesBurst'>[]> => database.query(OWN_LIMITS);

/** Creates an account; undefined if the user id or localpart is taken. Two requests for one name cannot both get it. */
export const insertAccount = async (
  tx: Tx,
  account: Pick<
    AccountRecord,
    'userId' | 'localpart' | 'createdTs' | 'isGuest' | 'admin' | 'appserviceId' | 'userType' | 'expiresTs'
  > & {
    readonly passwordHash: string | null;
  },
): Promise<AccountRecord | undefined> =>
  (
    await tx.query<AccountRecord>(INSERT_ACCOUNT, [
      account.userId,
      account.localpart,
      account.passwordHash,
      account.createdTs,
      account.isGuest,
      account.admin,
      account.appserviceId,
      account.userType,
      account.expiresTs,
    ])
  )[0];

/** Returns whether there was such an account. */
export const updateAccount = async (tx: Tx, userId: string, changes: AccountChanges): Promise<boolean> => {
  const { em, AccountEntity } = await tx.entities();
  return (await em.nativeUpdate(AccountEntity, { userId }, changes)) > 0;
};

/** Replaces a hash by another one of the same password. @returns false, without a change, if it is not the account's any more */
export const replacePasswordHash = async (
  database: Database,
  userId: string,
  old: string,
  renewed: string,
): Promise<boolean> => (await database.query(REPLACE_HASH, [userId, old, renewed])).length > 0;

/** Whether this is the account's hash; it cannot change until the transaction ends. */
export const hasPasswordHash = async (tx: Tx, userId: string, hash: string): Promise<boolean> =>
  (await tx.query(HAS_HASH, [userId, hash])).length > 0;
