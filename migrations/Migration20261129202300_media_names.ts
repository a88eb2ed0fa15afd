import { Migration } from '@mikro-orm/migrations';

const BOUNDED = '{1,255}';

/** Names of media are found where they are as long as names can be: what is longer names nothing, and is too long for an index. */
export class Migration20261129202300_media_names extends Migration {
  override up(): void {
    this.#define(BOUNDED);
  }

  override down(): void {
    this.#define('+');
  }

  #define(length: string): void {
    this.addSql(`drop index profiles_media`);
    this.addSql(`drop index account_data_media`);
    this.addSql(`create or replace function media_named_in(content text) returns text[] language sql immutable strict parallel safe
      return (select coalesce(array_agg(distinct m[1]), '{}')
        from regexp_matches(content, 'mxc://([^/"\\s]${length}/[A-Za-z0-9_-]${length})', 'g') m)`);
    this.addSql(
      `create index profiles_media on profiles using gin (media_named_in(value)) where value like '%mxc://%'`,
    );
    this.addSql(
      `create index account_data_media on account_data using gin (media_named_in(content)) where content like '%mxc://%'`,
    );
  }
}
