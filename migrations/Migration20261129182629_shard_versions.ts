import { Migration } from '@mikro-orm/migrations';

/**
 * With a fillfactor of 10 each commit pruned the page of the shards, and wrote that into the log. Half a page takes the versions of some
 * dozens of commits before one of them does.
 */
export class Migration20261129182629_shard_versions extends Migration {
  override up(): void {
    this.addSql(`alter table shards set (fillfactor = 50)`);
  }

  override down(): void {
    this.addSql(`alter table shards set (fillfactor = 10)`);
  }
}
