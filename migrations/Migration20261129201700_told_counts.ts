import { Migration } from '@mikro-orm/migrations';

/** What pushers know of how much is unread, and whose pushers may have to be told anew. */
export class Migration20261129201700_told_counts extends Migration {
  override up(): void {
    // As it was told last: they are told again only when it is something else.
    this.addSql(`alter table pushers add column told int not null default 0`);

    // Users who have read something since their pushers were told, written with the receipt. A row goes when that was looked at; one that
    // was written again meanwhile has another mark, and stays.
    this.addSql(`create table push_checks (user_nid int primary key, mark bigint not null)`);
  }

  override down(): void {
    this.addSql(`drop table push_checks`);
    this.addSql(`alter table pushers drop column told`);
  }
}
