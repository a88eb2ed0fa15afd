import { Migration } from '@mikro-orm/migrations';

/** The device that sent an event, and its transaction id: that device is told the id whenever it reads the event. */
export class Migration20261123002100_sent_by extends Migration {
  override up(): void {
    this.addSql(`alter table events add column sent_by text`);
  }

  override down(): void {
    this.addSql(`alter table events drop column sent_by`);
  }
}
