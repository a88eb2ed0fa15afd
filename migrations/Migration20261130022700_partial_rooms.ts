import { Migration } from '@mikro-orm/migrations';

/** Rooms that were joined before all of their state was told. */
export class Migration20261130022700_partial_rooms extends Migration {
  override up(): void {
    // While `state` is set, the memberships before the join are missing. Once they came, `full_pos` says since when the room is whole.
    this.addSql(`create table partial_rooms (
      room int primary key,
      state bigint,
      join_pos bigint not null,
      via text not null,
      servers text not null,
      before text not null,
      full_pos bigint not null
    )`);
  }

  override down(): void {
    this.addSql(`drop table partial_rooms`);
  }
}
