import { Migration } from '@mikro-orm/migrations';

/** Events that relate to an event which is not here yet: when it comes, they are connected with it. */
export class Migration20261123001700_awaited_relations extends Migration {
  override up(): void {
    this.addSql(`create table awaited_relations (
      room int not null,
      target bytea not null,
      child bigint not null,
      primary key (room, target, child)
    )`);
    // Deleting events deletes what they wait for.
    this.addSql(`create index awaited_relations_child on awaited_relations (room, child)`);
  }

  override down(): void {
    this.addSql(`drop table awaited_relations`);
  }
}
