import { type Database, sql } from '../database.ts';

/** An account that is about to expire. */
export interface ExpiringAccount {
  readonly userId: string;
  /** Milliseconds since the epoch. */
  readonly expiresTs: number;
}

const EXPIRING = sql(
  'accounts_expiring',
  `select a.user_id as "userId", a.expires_ts as "expiresTs" from accounts a
   where a.expires_ts > $1 and a.expires_ts <= $2 and a.user_id > $3 and not a.deactivated and not a.admin and a.expiry_mails
     and exists (select 1 from account_threepids t where t.user_id = a.user_id and t.medium = 'email')
     and not exists (select 1 from mails_sent s where s.id = 'expiry ' || a.user_id || ' ' || a.expires_ts)
   order by a.user_id limit $4`,
);

/** Accounts with a mail address that expire within a span and were not told so, in order from after a user id. */
export const expiringAccounts = (
  database: Database,
  span: { readonly after: number; readonly upTo: number },
  afterUser: string,
  limit: number,
): Promise<ExpiringAccount[]> => database.query<ExpiringAccount>(EXPIRING, [span.after, span.upTo, afterUser, limit]);
