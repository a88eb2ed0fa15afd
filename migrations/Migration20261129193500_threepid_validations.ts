import { Migration } from '@mikro-orm/migrations';

/** Addresses outside Matrix that are being found to be somebody's, and which mails went out. */
export class Migration20261129193500_threepid_validations extends Migration {
  override up(): void {
    // The token that is mailed is derived from a key outside the database: neither it nor the client's secret can be read here.
    this.addSql(`create table threepid_validations (
      sid text primary key,
      purpose text not null,
      medium text not null,
      address text not null,
      secret_hash bytea not null,
      send_attempt bigint not null,
      next_link text,
      language text not null,
      wrong_tokens int not null default 0,
      created_ts bigint not null,
      expires_ts bigint not null,
      validated_ts bigint,
      unique (purpose, medium, address, secret_hash)
    )`);
    this.addSql(`create index threepid_validations_expires on threepid_validations (expires_ts)`);
    // What the server that takes our mail has taken: a job that is done again after a kill finds its mail here.
    this.addSql(`create table mails_sent (id text primary key, sent_ts bigint not null)`);
    this.addSql(`create index mails_sent_ts on mails_sent (sent_ts)`);
    // Identity servers with which users have this server bind their addresses, to be unbound there again.
    this.addSql(`create table threepid_binds (
      user_id text not null references accounts on delete cascade,
      medium text not null,
      address text not null,
      id_server text not null,
      primary key (user_id, medium, address, id_server)
    )`);
  }

  override down(): void {
    this.addSql(`drop table threepid_binds`);
    this.addSql(`drop table mails_sent`);
    this.addSql(`drop table threepid_validations`);
  }
}
