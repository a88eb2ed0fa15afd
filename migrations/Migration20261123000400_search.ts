import { Migration } from '@mikro-orm/migrations';

/** What is found in messages and among users, and how far those who follow the events have come. */
export class Migration20261123000400_search extends Migration {
  override up(): void {
    // Who follows the stream of events (the search index, the user directory) has taken in everything up to `pos`; while it catches
    // up from there to `goal`, the rooms up to `room` are done.
    this.addSql(`create table event_followers (
      name text not null,
      shard smallint not null,
      pos bigint not null,
      goal bigint,
      room int,
      primary key (name, shard)
    ) with (fillfactor = 50)`);

    // Texts are found by hashes of (room, gram): a search in some rooms meets no other room's events, and needs no extension and no
    // particular locale. The text itself stays in the event. Deleted with redactions and with the events.
    this.addSql(`create table search_docs (
      room int not null,
      ts bigint not null,
      event bigint not null,
      grams int[] not null,
      primary key (room, ts, event)
    )`);
    // A search reads the pending list from end to end: it stays short.
    this.addSql(`create index search_docs_grams on search_docs using gin (grams) with (gin_pending_list_limit = 512)`);

    // Whom the user directory can show: accounts that are in use, and users of other servers who are in rooms here. Name and avatar
    // are JSON, as they lie in profiles: a name that means something in one room only never comes here.
    this.addSql(`create table directory_users (
      user_nid int primary key,
      user_id text not null unique,
      local boolean not null,
      display_name text,
      avatar_url text,
      folded_id text not null,
      folded_name text not null,
      grams int[] not null
    )`);
    this.addSql(
      `create index directory_users_grams on directory_users using gin (grams) with (gin_pending_list_limit = 512)`,
    );

    // Rooms whose members anybody may find: the join rule is public, or the history is world-readable.
    this.addSql(`create table directory_rooms (room int primary key)`);
  }

  override down(): void {
    for (const table of ['directory_rooms', 'directory_users', 'search_docs', 'event_followers'])
      this.addSql(`drop table ${table}`);
  }
}
