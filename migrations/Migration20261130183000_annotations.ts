import { Migration } from '@mikro-orm/migrations';

/**
 * What an annotation says, as the first 48 bits of a hash: whether a user has said the same before is one look into an index, and not the
 * reading of all that they said. Annotations that are here already get theirs while the server runs, by the background update
 * `populate_annotations`, which is begun here: to parse ten millions of them would keep the server down for minutes.
 */
export class Migration20261130183000_annotations extends Migration {
  override up(): void {
    this.addSql('alter table events add column annotation bigint');
    this.addSql('create index events_annotations on events (annotation) where annotation is not null');
    this.addSql(
      `insert into admin_tasks (id, action, resource, lane, params, status, via, created_ts, updated_ts)
       select 'populate_annotations', 'populate_annotations', 'background_updates', 'background_updates', '{}', 'scheduled', 'server', at.ts, at.ts
       from (select (extract(epoch from now()) * 1000)::bigint as ts) at where exists (select 1 from strings where s = 'm.annotation')`,
    );
    this.addSql(
      `insert into outbox (job, payload, created_ts)
       select 'admin.run_update', json_build_object('lane', lane), created_ts from admin_tasks where id = 'populate_annotations'`,
    );
  }

  override down(): void {
    this.addSql(`delete from admin_tasks where action = 'populate_annotations'`);
    this.addSql('drop index events_annotations');
    this.addSql('alter table events drop column annotation');
  }
}
