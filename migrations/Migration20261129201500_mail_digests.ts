import { Migration } from '@mikro-orm/migrations';

/** Mails about messages that were missed: what they have told, and when they told of each room. */
export class Migration20261129201500_mail_digests extends Migration {
  override up(): void {
    // Up to `pending_ts` goes the mail that was begun: after a kill it is the same mail.
    this.addSql(`create table mail_digests (
      pusher bigint primary key references pushers (id) on delete cascade,
      told_ts bigint not null,
      pending_ts bigint
    )`);
    this.addSql(`create table mail_digest_rooms (
      pusher bigint not null references pushers (id) on delete cascade,
      room_id text not null,
      told_ts bigint not null,
      pause_ms bigint not null,
      primary key (pusher, room_id)
    )`);
    this.addSql(`create index pushers_mail on pushers (id) where kind = 'email'`);
    // What is sent by mail is not shown on the device that asked for it: it goes on when that is logged out.
    this.addSql(`alter table pushers alter column device_id drop not null`);
  }

  override down(): void {
    this.addSql(`drop table mail_digest_rooms`);
    this.addSql(`drop table mail_digests`);
    this.addSql(`drop index pushers_mail`);
    this.addSql(`delete from pushers where device_id is null`);
    this.addSql(`alter table pushers alter column device_id set not null`);
  }
}
