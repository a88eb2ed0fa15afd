import { Migration } from '@mikro-orm/migrations';

/** Redactions that came before what they redact. */
export class Migration20261130024300_awaited_redactions extends Migration {
  override up(): void {
    this.addSql(`create table awaited_redactions (
      room int not null,
      target bytea not null,
      redaction bigint not null,
      primary key (room, target, redaction)
    )`);
  }

  override down(): void {
    this.addSql(`drop table awaited_redactions`);
  }
}
