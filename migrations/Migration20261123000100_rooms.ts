import { Migration } from '@mikro-orm/migrations';

/**
 * Rooms as signed event DAGs, and the streams that sync reads.
 *
 * A position (`nid`, `pos`) is `sequence * 16 + shard`: the shard that gave it out can be read off it, and within one shard
 * positions are given out in commit order without gaps that a reader would have to wait for.
 */
export class Migration20261123000100_rooms extends Migration {
  override up(): void {
    // One row per logical shard. Every batch of writes advances `seq` and names the epoch under which it was made: the batch of
    // a process that no longer owns the shard matches no row. The low fillfactor keeps these updates on one page (HOT).
    this.addSql(`create table shards (
      id smallint primary key,
      epoch bigint not null default 0,
      seq bigint not null default 0,
      low_seq bigint not null default 0
    ) with (fillfactor = 10)`);
    this.addSql(`insert into shards (id) select generate_series(0, 15)`);

    this.addSql(`create table strings (nid int generated always as identity primary key, s text not null unique)`);
    this.addSql(`create table state_keys (
      nid int generated always as identity primary key,
      type int not null,
      state_key text not null,
      unique (type, state_key)
    )`);
    this.addSql(`create table users (
      nid int generated always as identity primary key,
      user_id text not null unique,
      local boolean not null
    )`);

    this.addSql(`create table rooms (
      nid int generated always as identity primary key,
      room_id text not null unique,
      version text not null,
      shard smallint not null,
      creator int not null,
      room_type text,
      is_public boolean not null default false,
      created_ts bigint not null
    )`);
    this.addSql(`create index rooms_public on rooms (nid) where is_public`);

    // What every send moves on, apart from rooms so that the row that is rewritten stays small.
    this.addSql(`create table room_tail (
      room int primary key,
      extremities bigint[] not null,
      state bigint not null,
      depth bigint not null,
      last_pos bigint not null
    ) with (fillfactor = 50)`);

    this.addSql(`create table events (
      room int not null,
      nid bigint not null,
      topo bigint not null,
      event_id bytea not null,
      type int not null,
      skey int,
      sender int not null,
      ts bigint not null,
      state bigint not null,
      prev bigint[] not null,
      auth bigint[] not null,
      rel bigint,
      rel_type int,
      flags int not null,
      replaces bigint,
      redacted_by bigint,
      json text not null,
      primary key (room, nid)
    )`);
    this.addSql(`do $$ begin
      -- A PostgreSQL built without lz4 (the embedded one) keeps its default compression.
      alter table events alter column json set compression lz4;
    exception when feature_not_supported then null;
    end $$`);
    this.addSql(`create unique index events_event_id on events (event_id)`);
    this.addSql(`create index events_topological on events (room, topo, nid)`);
    this.addSql(`create index events_relations on events (rel, rel_type) where rel is not null`);

    // Backward extremities: events that others refer to and that are not here.
    this.addSql(`create table missing_prev (
      room int not null,
      event_id bytea not null,
      referrer bigint not null,
      primary key (room, event_id, referrer)
    )`);

    // A state is a chain of these rows, at most 8 long (see services/state): itself, and before it those that the chain names, the
    // oldest first. Member entries live in a family of their own so
    // that the few other entries of a large room are read without them.
    this.addSql(`create table state_delta (
      nid bigint primary key,
      room int not null,
      seq int not null,
      chain bigint[] not null,
      skeys int[] not null,
      events bigint[] not null,
      member_skeys int[] not null,
      member_events bigint[] not null
    )`);
    this.addSql(`create index state_delta_room on state_delta (room)`);

    // The current membership of every user who ever had one, with the position at which it began.
    this.addSql(`create table member (
      room int not null,
      user_nid int not null,
      membership smallint not null,
      event bigint not null,
      since bigint not null,
      local boolean not null,
      forgotten boolean not null default false,
      primary key (room, user_nid)
    ) with (fillfactor = 90)`);
    this.addSql(`create index member_user on member (user_nid)`);

    // Transaction ids: the key is a digest of user, device, endpoint and transaction id.
    this.addSql(`create table txn (key uuid primary key, event_id text not null, day int not null)`);
    this.addSql(`create index txn_day on txn using brin (day)`);

    // Where a user's notifications differ from the class that the event carries: highlights and custom rules only.
    this.addSql(`create table mention (
      user_nid int not null,
      room int not null,
      pos bigint not null,
      thread bigint,
      kind smallint not null,
      primary key (user_nid, room, pos)
    )`);

    this.addSql(`create table receipts (
      room int not null,
      user_nid int not null,
      kind smallint not null,
      thread text not null,
      event_id text not null,
      event bigint,
      ts bigint not null,
      pos bigint not null,
      primary key (room, user_nid, kind, thread)
    )`);
    this.addSql(`create index receipts_stream on receipts (room, pos)`);

    this.addSql(`create table account_data (
      user_nid int not null,
      room int not null,
      type text not null,
      content text not null,
      pos bigint not null,
      primary key (user_nid, room, type)
    )`);
    this.addSql(`create index account_data_stream on account_data (user_nid, pos)`);

    this.addSql(`create table aliases (
      alias text primary key,
      room int not null,
      creator text not null,
      created_ts bigint not null
    )`);
    this.addSql(`create index aliases_room on aliases (room)`);
  }

  override down(): void {
    for (const table of [
      'aliases',
      'account_data',
      'receipts',
      'mention',
      'txn',
      'member',
      'state_delta',
      'missing_prev',
      'events',
      'room_tail',
      'rooms',
      'users',
      'state_keys',
      'strings',
      'shards',
    ])
      this.addSql(`drop table ${table}`);
  }
}
