import { Migration } from '@mikro-orm/migrations';

/** When fields of profiles changed for the last time; `pos` is null until a change has its position. */
export class Migration20261129202400_profile_changes extends Migration {
  override up(): void {
    this.addSql(`create table profile_changes (
      user_id text not null,
      field text not null,
      pos bigint,
      primary key (user_id, field)
    )`);
    this.addSql(`create index profile_changes_pos on profile_changes ((pos % 16), pos)`);
    this.addSql(`create index profile_changes_due on profile_changes (user_id) where pos is null`);
  }

  override down(): void {
    this.addSql(`drop table profile_changes`);
  }
}
