import { Migration } from '@mikro-orm/migrations';

/** Counting what is kept for one user. */
export class Migration20261129173000_quota_counts extends Migration {
  override up(): void {
    this.addSql(`create index aliases_creator on aliases (creator)`);
  }

  override down(): void {
    this.addSql(`drop index aliases_creator`);
  }
}
