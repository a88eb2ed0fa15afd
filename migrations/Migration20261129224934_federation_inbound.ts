import { Migration } from '@mikro-orm/migrations';

/** What other servers have sent and what is not in its rooms yet, and the transactions that were answered. */
export class Migration20261129224934_federation_inbound extends Migration {
  override up(): void {
    // Events that were acknowledged, in the order in which they came. A row goes when it is known what becomes of its event.
    this.addSql(`create table inbound_events (
      seq bigint generated always as identity primary key,
      room int not null,
      event_id bytea not null unique,
      origin text not null,
      json text not null,
      received_ts bigint not null
    )`);
    this.addSql(`create index inbound_events_room on inbound_events (room, seq)`);
    this.addSql(`create table inbound_transactions (
      origin text not null,
      txn_id text not null,
      answer text not null,
      received_ts bigint not null,
      primary key (origin, txn_id)
    )`);
    this.addSql(`create index inbound_transactions_age on inbound_transactions using brin (received_ts)`);
  }

  override down(): void {
    this.addSql(`drop table inbound_transactions`);
    this.addSql(`drop table inbound_events`);
  }
}
