import { Migration } from '@mikro-orm/migrations';

/** Finding what highlighted for everybody in a room. */
export class Migration20261123001200_notifications extends Migration {
  override up(): void {
    // 32 is the flag `highlightsAll`: so few events have it that the index costs sends nothing.
    this.addSql(`create index events_highlights on events (room, nid) where flags & 32 <> 0`);
  }

  override down(): void {
    this.addSql(`drop index events_highlights`);
  }
}
