import { Migration } from '@mikro-orm/migrations';

/** What users keep on this server beside their account: profiles, filters and presence. */
export class Migration20261123000300_user_data extends Migration {
  override up(): void {
    // A row for each field: setting one is a single upsert, whatever else happens to the profile at that moment.
    this.addSql(`create table profiles (
      user_id text not null,
      field text not null,
      value text not null,
      primary key (user_id, field)
    )`);

    this.addSql(`create table filters (
      nid bigint generated always as identity primary key,
      user_nid int not null,
      digest bytea not null,
      content text not null,
      unique (user_nid, digest)
    )`);

    // Rewritten about twice a minute for each user who is active: room on the page keeps these updates cheap (HOT).
    this.addSql(`create table presence (
      user_id text primary key,
      state text not null,
      status_msg text,
      last_active_ts bigint not null
    ) with (fillfactor = 80)`);
  }

  override down(): void {
    this.addSql(`drop table presence`);
    this.addSql(`drop table filters`);
    this.addSql(`drop table profiles`);
  }
}
