import { Migration } from '@mikro-orm/migrations';

/** What administrators see and keep of accounts: orders of the list of users, ids at identity providers, limits of a user's own. */
export class Migration20261130015900_user_administration extends Migration {
  override up(): void {
    // The list of users in each order that has an index: few users are what these say, and all others come in the order of their ids.
    this.addSql(`drop index accounts_created`);
    this.addSql(`create index accounts_created on accounts (created_ts, user_id)`);
    for (const column of ['is_guest', 'deactivated', 'locked', 'shadow_banned'])
      this.addSql(`create index accounts_${column} on accounts (user_id) where ${column}`);
    this.addSql(`create index accounts_user_type on accounts (user_type, user_id) where user_type is not null`);
    // A name may be longer than an index takes.
    for (const field of ['displayname', 'avatar_url'])
      this.addSql(`create index profiles_${field} on profiles (left(value, 256), user_id) where field = '${field}'`);

    // Who a user is at an identity provider.
    this.addSql(`create table external_ids (
      provider text not null,
      external_id text not null,
      user_id text not null references accounts on delete cascade,
      primary key (provider, external_id)
    )`);
    this.addSql(`create index external_ids_user on external_ids (user_id)`);

    // How fast a user may send, instead of what the configuration says; null: as it says.
    this.addSql(`alter table accounts add column messages_per_second int, add column messages_burst int`);
    this.addSql(`create index accounts_own_limits on accounts (user_id) where messages_per_second is not null`);

    // Sessions in which an administrator acts as somebody else. They have no device, and the user does not see them.
    this.addSql(`create table admin_logins (
      session_id text primary key,
      user_id text not null references accounts on delete cascade,
      admin text not null references accounts on delete cascade,
      created_ts bigint not null,
      expires_ts bigint
    )`);
    this.addSql(`create index admin_logins_user on admin_logins (user_id, created_ts)`);
    this.addSql(`create index admin_logins_admin on admin_logins (admin)`);
    this.addSql(`create index admin_logins_expiry on admin_logins (expires_ts) where expires_ts is not null`);
  }

  override down(): void {
    this.addSql(`drop table admin_logins`);
    this.addSql(`drop index accounts_own_limits`);
    this.addSql(`alter table accounts drop column messages_per_second, drop column messages_burst`);
    this.addSql(`drop table external_ids`);
    for (const field of ['displayname', 'avatar_url']) this.addSql(`drop index profiles_${field}`);
    for (const column of ['is_guest', 'deactivated', 'locked', 'shadow_banned', 'user_type', 'created'])
      this.addSql(`drop index accounts_${column}`);
    this.addSql(`create index accounts_created on accounts (created_ts)`);
  }
}
