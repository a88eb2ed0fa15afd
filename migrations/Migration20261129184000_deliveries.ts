import { Migration } from '@mikro-orm/migrations';

/** How far what is sent elsewhere has come: a row for each destination, and none for what is sent. */
export class Migration20261129184000_deliveries extends Migration {
  override up(): void {
    // Everything up to `position` is delivered, or given up. A batch that ends at `batch_end` was begun and is not answered: after a kill
    // it is sent again exactly as it was.
    this.addSql(`create table deliveries (
      queue text not null,
      destination text not null,
      position bigint not null,
      batch_end bigint,
      failures int not null,
      refusals int not null,
      retry_at bigint,
      gone boolean not null,
      primary key (queue, destination)
    ) with (fillfactor = 70)`);
    this.addSql(`create index deliveries_unfinished on deliveries (queue, destination)
      where not gone and (retry_at is not null or batch_end is not null)`);
  }

  override down(): void {
    this.addSql(`drop table deliveries`);
  }
}
