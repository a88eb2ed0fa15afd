import { Migration } from '@mikro-orm/migrations';

/** What administrators asked for that takes long, with how far it has come. */
export class Migration20261130015500_admin_tasks extends Migration {
  override up(): void {
    // Tasks of one lane are done one after the other, in the order of seq.
    this.addSql(`create table admin_tasks (
      seq bigint generated always as identity primary key,
      id text not null unique,
      action text not null,
      resource text,
      lane text not null,
      params text not null,
      status text not null,
      is_cancelled boolean not null default false,
      result text,
      error text,
      requested_by text,
      via text not null,
      created_ts bigint not null,
      updated_ts bigint not null
    )`);
    this.addSql(`create index admin_tasks_lane on admin_tasks (lane, seq) where status in ('scheduled', 'active')`);
    this.addSql(`create index admin_tasks_resource on admin_tasks (resource, seq) where resource is not null`);
    this.addSql(`create index admin_tasks_action on admin_tasks (action, seq)`);
    this.addSql(
      `create index admin_tasks_ended on admin_tasks (updated_ts) where status not in ('scheduled', 'active')`,
    );
  }

  override down(): void {
    this.addSql(`drop table admin_tasks`);
  }
}
