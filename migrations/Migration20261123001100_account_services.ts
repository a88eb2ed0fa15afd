import { Migration } from '@mikro-orm/migrations';

/** What users have this server do for them elsewhere: pushers, proofs of identity for other services, logins of further devices. */
export class Migration20261123001100_account_services extends Migration {
  override up(): void {
    // A pusher ends with the device that made it: whoever logs a device out wants it to fall silent.
    this.addSql(`create table pushers (
      user_id text not null,
      app_id text not null,
      pushkey text not null,
      device_id text not null,
      kind text not null,
      app_display_name text not null,
      device_display_name text not null,
      profile_tag text,
      lang text not null,
      data text not null,
      created_ts bigint not null,
      primary key (user_id, app_id, pushkey),
      foreign key (user_id, device_id) references devices on delete cascade
    )`);
    this.addSql(`create index pushers_device on pushers (user_id, device_id)`);
    this.addSql(`create index pushers_pushkey on pushers (app_id, pushkey)`);

    // Both kinds of token are kept as hashes, and deleted once they have expired whenever a new one is made.
    this.addSql(`create table openid_tokens (
      token_hash bytea primary key,
      user_id text not null references accounts on delete cascade,
      expires_ts bigint not null
    )`);
    this.addSql(`create index openid_tokens_expiry on openid_tokens (expires_ts)`);
    this.addSql(`create table login_tokens (
      token_hash bytea primary key,
      user_id text not null references accounts on delete cascade,
      expires_ts bigint not null
    )`);
    this.addSql(`create index login_tokens_expiry on login_tokens (expires_ts)`);
  }

  override down(): void {
    this.addSql(`drop table login_tokens`);
    this.addSql(`drop table openid_tokens`);
    this.addSql(`drop table pushers`);
  }
}
