import { Migration } from '@mikro-orm/migrations';

/** What administrators do with rooms: list them, close them, and delete them whole. */
export class Migration20261130015700_room_administration extends Migration {
  override up(): void {
    // What rooms are listed and sorted by: it follows their state, which is packed where SQL does not look. Of the orders, the two that tools
    // begin with have an index; the others are sorted among these small rows, which have to be counted in any case.
    this.addSql(`create table room_overviews (
      room int primary key,
      name text,
      canonical_alias text,
      joined int not null,
      joined_local int not null,
      encryption text,
      federatable boolean not null,
      join_rules text,
      guest_access text,
      history_visibility text,
      state_events int not null
    ) with (fillfactor = 80)`);
    this.addSql(`create index room_overviews_name on room_overviews (name, room)`);
    this.addSql(`create index room_overviews_joined on room_overviews (joined, room)`);

    // Rooms that this server lets nobody into, known here or not.
    this.addSql(`create table blocked_rooms (
      room_id text primary key,
      blocked_by text not null,
      blocked_ts bigint not null
    )`);

    // A room that is being deleted: nobody finds it any more, while what hangs on its number goes.
    this.addSql(`alter table rooms add column gone boolean not null default false`);
    this.addSql(`create index rooms_gone on rooms (nid) where gone`);
  }

  override down(): void {
    this.addSql(`drop index rooms_gone`);
    this.addSql(`alter table rooms drop column gone`);
    this.addSql(`drop table blocked_rooms`);
    this.addSql(`drop table room_overviews`);
  }
}
