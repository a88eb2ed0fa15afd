import { Migration } from '@mikro-orm/migrations';

/** Names in a megabyte of account data are found in a tenth of a second: repetitions with bounds take PostgreSQL seconds there. */
export class Migration20261129213700_media_names_found extends Migration {
  override up(): void {
    this.#define(
      `(select coalesce(array_agg(distinct m[1] || '/' || m[2]), '{}')
        from regexp_matches(content, 'mxc://([^/"\\s]+)/([A-Za-z0-9_-]+)', 'g') m
        where length(m[1]) <= 255 and length(m[2]) <= 255)`,
    );
  }

  override down(): void {
    this.#define(
      `(select coalesce(array_agg(distinct m[1]), '{}')
        from regexp_matches(content, 'mxc://([^/"\\s]{1,255}/[A-Za-z0-9_-]{1,255})', 'g') m)`,
    );
  }

  #define(names: string): void {
    this.addSql(`drop index profiles_media`);
    this.addSql(`drop index account_data_media`);
    this.addSql(`create or replace function media_named_in(content text) returns text[] language sql immutable strict parallel safe
      return ${names}`);
    this.addSql(
      `create index profiles_media on profiles using gin (media_named_in(value)) where value like '%mxc://%'`,
    );
    this.addSql(
      `create index account_data_media on account_data using gin (media_named_in(content)) where content like '%mxc://%'`,
    );
  }
}
