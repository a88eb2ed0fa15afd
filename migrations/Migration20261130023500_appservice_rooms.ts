import { Migration } from '@mikro-orm/migrations';

/** The rooms that application services list for the networks that they bridge. */
export class Migration20261130023500_appservice_rooms extends Migration {
  override up(): void {
    this.addSql(`create table appservice_rooms (
      appservice text not null,
      network text not null,
      room int not null,
      primary key (appservice, network, room)
    )`);
    // For the end of a room.
    this.addSql(`create index appservice_rooms_room on appservice_rooms (room)`);
  }

  override down(): void {
    this.addSql(`drop table appservice_rooms`);
  }
}
