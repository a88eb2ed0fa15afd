import { Migration } from '@mikro-orm/migrations';

/** Keys of other servers, and which servers could not be reached. */
export class Migration20261129223603_server_keys extends Migration {
  override up(): void {
    // `answer` is what the server said last when the key was in it, as it signed it: other servers ask this one for it.
    this.addSql(`create table server_keys (
      server_name text not null,
      key_id text not null,
      key bytea not null,
      valid_until bigint not null,
      is_old boolean not null,
      fetched_at bigint not null,
      answer text not null,
      primary key (server_name, key_id)
    )`);
    this.addSql(`create index server_keys_fetched on server_keys (fetched_at)`);
    this.addSql(`create table server_outages (
      server_name text primary key,
      since bigint not null,
      retry_at bigint not null
    ) with (fillfactor = 70)`);
  }

  override down(): void {
    this.addSql(`drop table server_outages`);
    this.addSql(`drop table server_keys`);
  }
}
