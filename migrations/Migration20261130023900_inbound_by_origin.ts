import { Migration } from '@mikro-orm/migrations';

/** The same event may wait from several servers: one of them may be denied by the room, and the others are not. */
export class Migration20261130023900_inbound_by_origin extends Migration {
  override up(): void {
    this.addSql(
      `alter table inbound_events drop constraint inbound_events_event_id_key, add unique (event_id, origin)`,
    );
  }

  override down(): void {
    this.addSql(`delete from inbound_events e using inbound_events o where o.event_id = e.event_id and o.seq < e.seq`);
    this.addSql(`alter table inbound_events drop constraint inbound_events_event_id_origin_key, add unique (event_id)`);
  }
}
