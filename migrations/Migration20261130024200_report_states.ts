import { Migration } from '@mikro-orm/migrations';

/** Whether a report waits for an administrator, and who saw to it. */
export class Migration20261130024200_report_states extends Migration {
  override up(): void {
    this.addSql(`alter table reports add column state text not null default 'open', add column resolved_by text,
      add column resolved_ts bigint, add column note text`);
    this.addSql(`create index reports_kind on reports (kind, created_ts, id)`);
    this.addSql(`create index reports_open on reports (id) where state = 'open'`);
  }

  override down(): void {
    this.addSql(`drop index reports_open`);
    this.addSql(`drop index reports_kind`);
    this.addSql(
      `alter table reports drop column state, drop column resolved_by, drop column resolved_ts, drop column note`,
    );
  }
}
