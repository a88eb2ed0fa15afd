import { Migration } from '@mikro-orm/migrations';

/** What media consist of, apart from what they are called; what names them; and what may not be handed out. */
export class Migration20261129193100_media_contents extends Migration {
  override up(): void {
    // An object in a blob store. Without a digest: it is being written. Doomed: its bytes go next, nothing may refer to it any more.
    this.addSql(`create table blobs (
      name text primary key,
      place text not null,
      digest text,
      size bigint not null default 0,
      started_ts bigint not null,
      doomed boolean not null default false,
      scan text
    )`);
    this.addSql(`insert into blobs (name, place, digest, size, started_ts)
      select digest, 'file', digest, max(size), min(created_ts) from (
        select digest, size, created_ts from media where digest is not null
        union all select digest, size, 0 from thumbnails
      ) known group by digest`);
    // The same content is kept once.
    this.addSql(`create unique index blobs_digest on blobs (digest) where not doomed`);
    this.addSql(`create index blobs_unfinished on blobs (started_ts) where digest is null and not doomed`);
    this.addSql(`create index blobs_doomed on blobs (name) where doomed`);
    this.addSql(`create index blobs_place on blobs (place, name)`);

    this.addSql(`drop index media_digest`);
    this.addSql(`alter table media
      add column nid bigint generated always as identity,
      add column origin text not null default '',
      add column blob text references blobs (name),
      add column last_access_ts bigint,
      add column released_ts bigint,
      add column protected boolean not null default false,
      add column quarantined_by text`);
    this.addSql(`update media set blob = digest, quarantined_by = case when quarantined then '' end`);
    this.addSql(`alter table media drop constraint media_pkey, drop column digest, drop column quarantined`);
    this.addSql(`alter table media add primary key (nid)`);
    this.addSql(`create unique index media_name on media (origin, media_id)`);
    this.addSql(`create index media_blob on media (blob)`);
    this.addSql(`create index media_pending on media (expires_ts) where blob is null`);
    this.addSql(`create index media_released on media (released_ts) where released_ts is not null`);
    this.addSql(`create index media_access on media ((coalesce(last_access_ts, created_ts)))`);

    this.addSql(`create table media_usage (user_id text primary key, bytes bigint not null, files bigint not null)`);
    this.addSql(`insert into media_usage (user_id, bytes, files)
      select user_id, sum(size), count(*) from media where blob is not null group by user_id`);

    this.addSql(`alter table thumbnails add column blob text references blobs (name)`);
    this.addSql(`update thumbnails set blob = digest`);
    this.addSql(`delete from thumbnails t where not exists (select 1 from blobs b where b.name = t.source)`);
    this.addSql(`alter table thumbnails alter column blob set not null, drop column digest, drop column size,
      add constraint thumbnails_source_fkey foreign key (source) references blobs (name)`);
    this.addSql(`create index thumbnails_blob on thumbnails (blob)`);

    // Which events name which media of this server, in clear text.
    this.addSql(`create table media_references (
      room int not null,
      event bigint not null,
      media bigint not null references media (nid) on delete cascade,
      is_state boolean not null,
      primary key (room, event, media)
    )`);
    this.addSql(`create index media_references_media on media_references (media, is_state)`);

    // What was quarantined by its bytes: whoever uploads them again has it quarantined.
    this.addSql(`create table quarantined_contents (
      digest text primary key,
      quarantined_by text not null,
      created_ts bigint not null
    )`);

    // Media that profiles and account data name are found by these, so that nothing has to be counted.
    this.addSql(`create function media_named_in(content text) returns text[] language sql immutable strict parallel safe
      return (select coalesce(array_agg(distinct m[1]), '{}') from regexp_matches(content, 'mxc://([^/"\\s]+/[A-Za-z0-9_-]+)', 'g') m)`);
    this.addSql(
      `create index profiles_media on profiles using gin (media_named_in(value)) where value like '%mxc://%'`,
    );
    this.addSql(
      `create index account_data_media on account_data using gin (media_named_in(content)) where content like '%mxc://%'`,
    );
  }

  override down(): void {
    this.addSql(`drop index account_data_media`);
    this.addSql(`drop index profiles_media`);
    this.addSql(`drop function media_named_in`);
    this.addSql(`drop table quarantined_contents`);
    this.addSql(`drop table media_references`);
    this.addSql(
      `alter table thumbnails drop constraint thumbnails_source_fkey, add column digest text, add column size bigint`,
    );
    this.addSql(`update thumbnails t set digest = b.digest, size = b.size from blobs b where b.name = t.blob`);
    this.addSql(
      `alter table thumbnails alter column digest set not null, alter column size set not null, drop column blob`,
    );
    this.addSql(`drop table media_usage`);
    this.addSql(`drop index media_access`);
    this.addSql(`drop index media_released`);
    this.addSql(`drop index media_pending`);
    this.addSql(`drop index media_name`);
    this.addSql(`delete from media where origin <> ''`);
    this.addSql(`alter table media drop constraint media_pkey, add column digest text,
      add column quarantined boolean not null default false`);
    this.addSql(`update media m set digest = b.digest from blobs b where b.name = m.blob`);
    this.addSql(`update media set quarantined = quarantined_by is not null`);
    this.addSql(`alter table media drop column blob, drop column nid, drop column origin, drop column last_access_ts,
      drop column released_ts, drop column protected, drop column quarantined_by, add primary key (media_id)`);
    this.addSql(`create index media_digest on media (digest)`);
    this.addSql(`create index media_pending on media (expires_ts) where digest is null`);
    this.addSql(`drop table blobs`);
  }
}
