import { Migration } from '@mikro-orm/migrations';

/** Media: what was uploaded, and thumbnails of it. The bytes lie in the blob store, once for the same content. */
export class Migration20261129175500_media extends Migration {
  override up(): void {
    // Without a digest: the id was given out, the content is yet to come.
    this.addSql(`create table media (
      media_id text primary key,
      user_id text not null,
      created_ts bigint not null,
      expires_ts bigint,
      digest text,
      size bigint not null default 0,
      content_type text,
      filename text,
      quarantined boolean not null default false
    )`);
    this.addSql(`create index media_user on media (user_id, created_ts)`);
    this.addSql(`create index media_digest on media (digest)`);
    this.addSql(`create index media_pending on media (expires_ts) where digest is null`);

    // Made once for each content, whoever uploaded it.
    this.addSql(`create table thumbnails (
      source text not null,
      width int not null,
      height int not null,
      method text not null,
      animated boolean not null,
      digest text not null,
      size bigint not null,
      content_type text not null,
      primary key (source, width, height, method, animated)
    )`);
  }

  override down(): void {
    this.addSql(`drop table thumbnails`);
    this.addSql(`drop table media`);
  }
}
