import { Migration } from '@mikro-orm/migrations';

/** Threads by their latest replies, and events by their time. */
export class Migration20261123000700_relations extends Migration {
  override up(): void {
    // Replies only (flag 64): what is in no thread does not touch it.
    this.addSql(`create index events_threads on events (room, topo, nid) where flags & 64 <> 0`);
    // Events lie on the disk about in the order of their time: a few bytes for each 32 pages say where a time is.
    this.addSql(`create index events_ts on events using brin (ts) with (pages_per_range = 32, autosummarize = on)`);
  }

  override down(): void {
    this.addSql(`drop index events_ts`);
    this.addSql(`drop index events_threads`);
  }
}
