import { Migration } from '@mikro-orm/migrations';

/** Events that stick: they are delivered whatever came after them, until they expire (MSC4354). */
export class Migration20261123001400_sticky_events extends Migration {
  override up(): void {
    // `pos`: the position by which it is delivered; null as long as it is soft-failed. `expires`: milliseconds since the epoch.
    this.addSql(`create table sticky_events (
      room int not null,
      event bigint not null,
      pos bigint,
      expires bigint not null,
      primary key (room, event)
    )`);
    this.addSql(`create index sticky_events_expires on sticky_events (expires)`);
  }

  override down(): void {
    this.addSql(`drop table sticky_events`);
  }
}
