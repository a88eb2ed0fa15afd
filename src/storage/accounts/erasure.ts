import { sql, type Tx } from '../database.ts';

// All that is kept of a user beside the account, events and memberships, table by table. A test knows every table that names users.
const ERASE = sql(
  'user_erase',
  `with account_data_ as (delete from account_data where user_nid = $2),
   room_tags_ as (delete from room_tags where user_nid = $2),
   push_rules_ as (delete from push_rules where user_nid = $2),
   thread_subscriptions_ as (delete from thread_subscriptions where user_nid = $2),
   filters_ as (delete from filters where user_nid = $2),
   mention_ as (delete from mention where user_nid = $2),
   receipts_ as (delete from receipts r using member m where m.user_nid = $2 and r.room = m.room and r.user_nid = $2),
   presence_ as (delete from presence where user_id = $1),
   profiles_ as (delete from profiles where user_id = $1),
   profile_changes_ as (delete from profile_changes where user_id = $1),
   media_usage_ as (delete from media_usage where user_id = $1),
   delayed_ as (delete from delayed_events where user_id = $1),
   threepids_ as (delete from account_threepids where user_id = $1),
   external_ids_ as (delete from external_ids where user_id = $1),
   invites_ as (delete from third_party_invites where inviter = $1),
   terms_ as (delete from accepted_terms where user_id = $1),
   openid_ as (delete from openid_tokens where user_id = $1),
   logins_ as (delete from login_tokens where user_id = $1),
   devices_ as (delete from devices where user_id = $1),
   backups_ as (delete from key_backups where user_id = $1),
   keys_ as (delete from cross_signing_keys where user_id = $1),
   grants_ as (delete from cross_signing_grants where user_id = $1),
   signatures_ as (delete from key_signatures where signer = $1)
   delete from directory_users where user_id = $1`,
);

const LOCK_ERASED = sql(
  'user_lock_erased',
  'select 1 from accounts where user_id = $1 and deactivated and erased for update',
);

/**
 * Deletes all data of a user except the account (its name stays taken), events and memberships. The account cannot be reactivated
 * meanwhile.
 *
 * @returns false for an account that is not erased, or not any more: nothing is deleted then
 */
export const eraseUser = async (tx: Tx, userId: string, userNid: number): Promise<boolean> => {
  if ((await tx.query(LOCK_ERASED, [userId])).length === 0) return false;
  await tx.query(ERASE, [userId, userNid]);
  return true;
};

const ERASE_PROOFS = sql(
  'user_erase_proofs',
  `delete from threepid_validations v using account_threepids t
   where t.user_id = $1 and v.medium = t.medium and v.address = t.address`,
);

/** Deletes the validation sessions of a user's addresses. */
export const eraseProofs = async (tx: Tx, userId: string): Promise<void> => {
  await tx.query(ERASE_PROOFS, [userId]);
};
