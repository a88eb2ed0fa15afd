import { Migration } from '@mikro-orm/migrations';

/** What is told to pushers: which of them are told, and in which order. */
export class Migration20261129195700_pushes extends Migration {
  override up(): void {
    // `id` names the deliveries to a pusher. What stands in `pushes` up to `since` is no matter of its: it was made or enabled later.
    this.addSql(`alter table pushers
      add column id bigint generated always as identity,
      add column enabled boolean not null default true,
      add column since bigint not null default 0,
      add column updated_ts bigint`);
    this.addSql(`update pushers set updated_ts = created_ts`);
    this.addSql(`alter table pushers alter column updated_ts set not null`);
    this.addSql(`create unique index pushers_id on pushers (id)`);

    // One row for an event that some pusher is told of, however many they are, in the order in which they are told. A row with a user
    // stands for no event: what is unread has changed for them.
    this.addSql(`create table pushes (
      pos bigint generated always as identity primary key,
      room int,
      event bigint,
      user_nid int,
      ts bigint not null
    )`);
    this.addSql(`create unique index pushes_event on pushes (event) where event is not null`);
  }

  override down(): void {
    this.addSql(`drop table pushes`);
    this.addSql(`alter table pushers drop column id, drop column enabled, drop column since, drop column updated_ts`);
  }
}
