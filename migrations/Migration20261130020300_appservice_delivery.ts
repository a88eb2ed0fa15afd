import { Migration } from '@mikro-orm/migrations';

/** What application services are still to be sent. */
export class Migration20261130020300_appservice_delivery extends Migration {
  override up(): void {
    // One row for each service. Transactions are counted, and named after `run` and their number; the one that was begun carries the events
    // of the log after `done`, up to `sending`, and `extras`. `devices` is how far changes of devices were told, by shard.
    this.addSql(`create table appservice_deliveries (
      service text primary key,
      run text not null,
      delivered bigint not null default 0,
      begun bigint,
      done bigint not null default 0,
      sending bigint,
      extras text,
      devices bigint[],
      failures int not null default 0,
      refusals int not null default 0,
      retry_at bigint,
      success_ts bigint,
      failure text,
      socket_ts bigint
    )`);

    // The events that services are interested in, in the order in which they are sent: a row for each lot of events that came together,
    // which goes when all of them have arrived. `last` is the place of the last of them.
    this.addSql(`create table appservice_log (
      service text not null,
      last bigint not null,
      rooms int[] not null,
      events bigint[] not null,
      primary key (service, last)
    )`);
  }

  override down(): void {
    this.addSql('drop table appservice_log, appservice_deliveries');
  }
}
