import { Migration } from '@mikro-orm/migrations';

/** What other servers are still to be sent, and what is known of the devices of their users. */
export class Migration20261129223822_federation_outbound extends Migration {
  override up(): void {
    // Only what has not arrived: of each room one row, however many events it stands for. A server that keeps up has none. Events up to
    // the positions of the follower 'federation' are nowhere else to be sent. `up_to` is where a server's part in the room ended.
    this.addSql(`create table destination_rooms (
      destination text not null,
      room int not null,
      after bigint not null,
      up_to bigint,
      primary key (destination, room, after)
    )`);

    // Messages for devices of other servers' users, until they have arrived.
    this.addSql(`create table destination_to_device (
      id bigint generated always as identity primary key,
      destination text not null,
      message_id text not null,
      json text not null,
      created_ts bigint not null,
      unique (destination, message_id)
    )`);
    this.addSql(`create index destination_to_device_next on destination_to_device (destination, id)`);
    this.addSql(`create index destination_to_device_created on destination_to_device using brin (created_ts)`);

    // Of which users of this server another one is still to be told that their devices changed: since when.
    this.addSql(`create table destination_device_lists (
      destination text not null,
      user_id text not null,
      after bigint not null,
      primary key (destination, user_id)
    )`);

    // What other servers are told of the devices of users of this one, as it was told last; `stream_id` grows with each change of a user's.
    // The row without a device stands for the cross-signing keys.
    this.addSql(`create table told_devices (
      user_id text not null,
      device_id text not null,
      stream_id bigint not null,
      digest bytea not null,
      deleted boolean not null,
      primary key (user_id, device_id)
    )`);

    // The devices of users of other servers, as these told us. A list that is `stale` has to be asked for again.
    this.addSql(`create table remote_device_lists (
      user_id text primary key,
      stream_id bigint not null,
      stale boolean not null,
      master_key text,
      self_signing_key text
    )`);
    this.addSql(`create table remote_devices (
      user_id text not null references remote_device_lists on delete cascade,
      device_id text not null,
      display_name text,
      keys text,
      primary key (user_id, device_id)
    )`);

    // Which users are of another server.
    this.addSql(
      `create index users_server on users (substring(user_id from position(':' in user_id) + 1)) where not local`,
    );
  }

  override down(): void {
    this.addSql(`drop index users_server`);
    for (const table of [
      'remote_devices',
      'remote_device_lists',
      'told_devices',
      'destination_device_lists',
      'destination_to_device',
      'destination_rooms',
    ])
      this.addSql(`drop table ${table}`);
  }
}
