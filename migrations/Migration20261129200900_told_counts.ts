import { Migration } from '@mikro-orm/migrations';

/** What pushers were told last of how much is unread, so that they are told again only when that is something else. */
export class Migration20261129200900_told_counts extends Migration {
  override up(): void {
    this.addSql(`alter table pushers add column told int not null default 0`);
  }

  override down(): void {
    this.addSql(`alter table pushers drop column told`);
  }
}
