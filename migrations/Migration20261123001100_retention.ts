import { Migration } from '@mikro-orm/migrations';

/** How far purges of rooms have come, and how soon what they leave empty is used again. */
export class Migration20261123001100_retention extends Migration {
  override up(): void {
    // One row for each purge that is under way: a process that takes it up again begins at `cursor`. Deleted when the purge is done.
    this.addSql(`create table room_purges (
      room int primary key,
      before_ts bigint not null,
      cursor bigint not null,
      deleted bigint not null,
      started_ts bigint not null
    )`);
    // The defaults wait until a fifth of a table is dead, which in a large table is more than is ever purged at once.
    for (const table of ['events', 'state_delta', 'mention', 'txn']) {
      this.addSql(
        `alter table ${table} set (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 2)`,
      );
    }
  }

  override down(): void {
    for (const table of ['events', 'state_delta', 'mention', 'txn']) {
      this.addSql(
        `alter table ${table} reset (autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold, autovacuum_vacuum_cost_delay)`,
      );
    }
    this.addSql(`drop table room_purges`);
  }
}
