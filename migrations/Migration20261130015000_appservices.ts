import { Migration } from '@mikro-orm/migrations';

/** Application services that administrators registered. */
export class Migration20261130015000_appservices extends Migration {
  override up(): void {
    this.addSql(`create table appservices (
      id text primary key,
      as_token_hash text not null unique,
      registration text not null,
      created_ts bigint not null
    )`);
  }

  override down(): void {
    this.addSql(`drop table appservices`);
  }
}
