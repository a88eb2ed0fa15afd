import { Migration } from '@mikro-orm/migrations';

/** What the server knows about itself, and the jobs that wait for a worker. */
export class Migration20261123000000_server extends Migration {
  override up(): void {
    this.addSql(`create table server_meta (key text primary key, value text not null)`);
    this.addSql(`create table outbox (
      id bigint generated always as identity primary key,
      job text not null,
      payload json not null,
      created_ts bigint not null
    )`);
  }

  override down(): void {
    this.addSql(`drop table outbox`);
    this.addSql(`drop table server_meta`);
  }
}
