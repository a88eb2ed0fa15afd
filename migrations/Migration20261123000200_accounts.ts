import { Migration } from '@mikro-orm/migrations';

/** Accounts of this server, their devices and sessions, and the tokens with which one may register. */
export class Migration20261123000200_accounts extends Migration {
  override up(): void {
    this.addSql(`create table accounts (
      user_id text primary key,
      localpart text not null unique,
      password_hash text,
      created_ts bigint not null,
      is_guest boolean not null default false,
      admin boolean not null default false,
      deactivated boolean not null default false,
      locked boolean not null default false,
      suspended boolean not null default false,
      shadow_banned boolean not null default false,
      erased boolean not null default false,
      rate_limit_exempt boolean not null default false,
      appservice_id text,
      user_type text
    )`);
    this.addSql(`create index accounts_created on accounts (created_ts)`);
    this.addSql(`create index accounts_admin on accounts (user_id) where admin`);

    // The last_seen columns are rewritten about once a minute for devices in use: room on the page keeps these updates cheap (HOT).
    this.addSql(`create table devices (
      user_id text not null references accounts on delete cascade,
      device_id text not null,
      display_name text,
      created_ts bigint not null,
      last_seen_ts bigint,
      last_seen_ip text,
      last_seen_user_agent text,
      primary key (user_id, device_id)
    ) with (fillfactor = 80)`);

    // One session per device: logging in again with a device id replaces it. The access tokens themselves are not stored.
    // generation counts the token pairs that a client has shown it received; only sessions with refresh tokens move it on.
    this.addSql(`create table sessions (
      session_id text primary key,
      user_id text not null,
      device_id text not null,
      generation int not null default 0,
      created_ts bigint not null,
      unique (user_id, device_id),
      foreign key (user_id, device_id) references devices on delete cascade
    )`);
    this.addSql(`create table refresh_tokens (
      token_hash bytea primary key,
      session_id text not null references sessions on delete cascade,
      generation int not null,
      created_ts bigint not null
    )`);
    this.addSql(`create index refresh_tokens_session on refresh_tokens (session_id, generation)`);

    this.addSql(`create table registration_tokens (
      token text primary key,
      uses_allowed int,
      completed int not null default 0,
      expiry_ts bigint,
      created_ts bigint not null
    )`);
  }

  override down(): void {
    this.addSql(`drop table registration_tokens`);
    this.addSql(`drop table refresh_tokens`);
    this.addSql(`drop table sessions`);
    this.addSql(`drop table devices`);
    this.addSql(`drop table accounts`);
  }
}
