import { Migration } from '@mikro-orm/migrations';

/** What administrators quarantined and freed, in order; what they quarantined before it came here; and the files of a user in the order of upload. */
export class Migration20261130023800_quarantine_changes extends Migration {
  override up(): void {
    this.addSql(`create table quarantine_changes (
      pos bigint generated always as identity primary key,
      origin text not null,
      media_id text not null,
      quarantined boolean not null,
      ts bigint not null
    )`);
    this.addSql(`create index quarantine_changes_media on quarantine_changes (origin, media_id, pos)`);
    this.addSql(`insert into quarantine_changes (origin, media_id, quarantined, ts)
      select origin, media_id, true, 0 from media where quarantined_by is not null order by nid`);

    // Media of other servers that are to be quarantined when somebody asks for them.
    this.addSql(`create table quarantined_names (
      origin text not null,
      media_id text not null,
      quarantined_by text not null,
      created_ts bigint not null,
      primary key (origin, media_id)
    )`);
  }

  override down(): void {
    this.addSql(`drop table quarantined_names`);
    this.addSql(`drop table quarantine_changes`);
  }
}
