import { Migration } from '@mikro-orm/migrations';

/** Events that a follower fails to take in wait apart, so that those after them do not. */
export class Migration20261129180500_events_set_aside extends Migration {
  override up(): void {
    // `retry_at` is null for those that were tried often enough; the next start of the server tries them once more.
    this.addSql(`create table events_set_aside (
      follower text not null,
      event bigint not null,
      room int not null,
      tries smallint not null,
      retry_at bigint,
      primary key (follower, event)
    )`);
    this.addSql(`create index events_set_aside_due on events_set_aside (follower, retry_at)`);
  }

  override down(): void {
    this.addSql(`drop table events_set_aside`);
  }
}
