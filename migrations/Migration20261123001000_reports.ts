import { Migration } from '@mikro-orm/migrations';

/** What users reported to the administrators. */
export class Migration20261123001000_reports extends Migration {
  override up(): void {
    // One table for reports of events, rooms and users: administrators read them in one list, the newest first. They stay until
    // an administrator deletes them.
    this.addSql(`create table reports (
      id bigint generated always as identity primary key,
      kind text not null,
      reporter text not null,
      room_id text,
      event_id text,
      user_id text,
      reason text,
      score int,
      created_ts bigint not null
    )`);
    this.addSql(`create index reports_room on reports (room_id) where room_id is not null`);
  }

  override down(): void {
    this.addSql(`drop table reports`);
  }
}
