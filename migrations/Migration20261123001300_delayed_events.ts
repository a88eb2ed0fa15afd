import { Migration } from '@mikro-orm/migrations';

/** Events that are to be sent at a later time (MSC4140), and which of the events in rooms were. */
export class Migration20261123001300_delayed_events extends Migration {
  override up(): void {
    // Those that are over stay for a while, so that clients can ask what became of them.
    this.addSql(`create table delayed_events (
      delay_id text primary key,
      user_id text not null,
      device_id text,
      room_id text not null,
      type text not null,
      state_key text,
      content text not null,
      origin_server_ts bigint,
      sticky_duration_ms bigint,
      older_form boolean not null,
      txn uuid unique,
      delay_ms bigint not null,
      scheduled_at bigint not null,
      look_at bigint not null,
      finalised_ts bigint,
      event_id text,
      error text
    ) with (fillfactor = 70)`);
    // When to look at it again: at its time to be sent or earlier. Moving that time back, which clients in calls do every few
    // seconds, leaves this column alone, so that no index is written (HOT).
    this.addSql(`create index delayed_events_due on delayed_events (look_at) where finalised_ts is null`);
    this.addSql(`create index delayed_events_user on delayed_events (user_id, finalised_ts)`);

    this.addSql(`alter table events add column delay_id text`);
  }

  override down(): void {
    this.addSql(`alter table events drop column delay_id`);
    this.addSql(`drop table delayed_events`);
  }
}
