import { Migration } from '@mikro-orm/migrations';

/** Keys of devices and users, backups of room keys, messages from device to device, and whose devices changed when. */
export class Migration20261129162500_end_to_end_encryption extends Migration {
  override up(): void {
    // What belongs to a device goes with it, however it is deleted.
    this.addSql(`create table device_keys (
      user_id text not null,
      device_id text not null,
      content text not null,
      primary key (user_id, device_id),
      foreign key (user_id, device_id) references devices on delete cascade
    )`);

    // nid keeps the order of the uploads, in which keys are claimed.
    this.addSql(`create table one_time_keys (
      user_id text not null,
      device_id text not null,
      algorithm text not null,
      nid bigint generated always as identity,
      key_id text not null,
      content text not null,
      primary key (user_id, device_id, algorithm, nid),
      unique (user_id, device_id, algorithm, key_id),
      foreign key (user_id, device_id) references devices on delete cascade
    )`);

    this.addSql(`create table fallback_keys (
      user_id text not null,
      device_id text not null,
      algorithm text not null,
      key_id text not null,
      content text not null,
      used boolean not null default false,
      primary key (user_id, device_id, algorithm),
      foreign key (user_id, device_id) references devices on delete cascade
    )`);

    this.addSql(`create table cross_signing_keys (
      user_id text not null references accounts on delete cascade,
      usage text not null,
      public_key text not null,
      content text not null,
      primary key (user_id, usage)
    )`);
    this.addSql(`create table cross_signing_grants (
      user_id text primary key references accounts on delete cascade,
      until_ts bigint not null
    )`);

    // Signatures that came after the key: target is a device id or the public key of a cross-signing key.
    this.addSql(`create table key_signatures (
      user_id text not null,
      target text not null,
      signer text not null references accounts on delete cascade,
      key_id text not null,
      signature text not null,
      primary key (user_id, target, signer, key_id)
    )`);
    this.addSql(`create index key_signatures_signer on key_signatures (signer)`);

    // One row for a user: when their devices or keys changed last. Rows with seen_by are for one other user only, the signer.
    this.addSql(`create table device_changes (
      user_id text not null,
      seen_by text not null default '',
      pos bigint not null,
      primary key (user_id, seen_by)
    ) with (fillfactor = 80)`);
    this.addSql(`create index device_changes_pos on device_changes ((pos % 16), pos)`);
    // What is committed but has no position yet: the position comes in the next statement, or at the next start.
    this.addSql(`create table device_changes_due (
      user_id text not null,
      seen_by text not null default '',
      primary key (user_id, seen_by)
    )`);

    this.addSql(`create table to_device (
      user_id text not null,
      device_id text not null,
      pos bigint not null,
      content text not null,
      primary key (user_id, device_id, pos),
      foreign key (user_id, device_id) references devices on delete cascade
    )`);

    this.addSql(`create table dehydrated_devices (
      user_id text not null primary key,
      device_id text not null,
      device_data text not null,
      foreign key (user_id, device_id) references devices on delete cascade
    )`);

    this.addSql(`create table key_backups (
      user_id text not null references accounts on delete cascade,
      version bigint not null,
      algorithm text not null,
      auth_data text not null,
      etag bigint not null default 0,
      sessions int not null default 0,
      bytes bigint not null default 0,
      deleted boolean not null default false,
      primary key (user_id, version)
    ) with (fillfactor = 80)`);
    this.addSql(`create table backed_up_sessions (
      user_id text not null,
      version bigint not null,
      room_id text not null,
      session_id text not null,
      first_message_index bigint not null,
      forwarded_count bigint not null,
      is_verified boolean not null,
      session_data text not null,
      primary key (user_id, version, room_id, session_id),
      foreign key (user_id, version) references key_backups on delete cascade
    )`);
  }

  override down(): void {
    for (const table of [
      'backed_up_sessions',
      'key_backups',
      'dehydrated_devices',
      'to_device',
      'device_changes_due',
      'device_changes',
      'key_signatures',
      'cross_signing_grants',
      'cross_signing_keys',
      'fallback_keys',
      'one_time_keys',
      'device_keys',
    ]) {
      this.addSql(`drop table ${table}`);
    }
  }
}
