import { Migration } from '@mikro-orm/migrations';

/** What connections of sliding sync know, between two processes. */
export class Migration20261129173000_sliding_connections extends Migration {
  override up(): void {
    this.addSql(`create table sliding_connections (
      user_id text not null,
      device_id text not null,
      conn_id text not null,
      content text not null,
      saved_ts bigint not null,
      primary key (user_id, device_id, conn_id),
      foreign key (user_id, device_id) references devices on delete cascade
    )`);
  }

  override down(): void {
    this.addSql(`drop table sliding_connections`);
  }
}
