import { Migration } from '@mikro-orm/migrations';

/**
 * What relates to an event is found in topological order, from any place, without a look at the rest. Where there are events already, the index is
 * made while the server runs, by the background update `index_relations`: to make it here would keep the server down.
 */
export class Migration20261201031500_placed_relations extends Migration {
  override up(): void {
    this.addSql(
      `do $$ begin
         if not exists (select 1 from events) then
           drop index events_relations;
           create index events_relations_placed on events (rel, topo, nid) where rel is not null;
         end if;
       end $$`,
    );
    this.addSql(
      `insert into admin_tasks (id, action, resource, lane, params, status, via, created_ts, updated_ts)
       select 'index_relations', 'index_relations', 'background_updates', 'background_updates', '{}', 'scheduled', 'server', at.ts, at.ts
       from (select (extract(epoch from now()) * 1000)::bigint as ts) at where to_regclass('events_relations_placed') is null`,
    );
    this.addSql(
      `insert into outbox (job, payload, created_ts)
       select 'admin.run_update', json_build_object('lane', lane), created_ts from admin_tasks where id = 'index_relations'`,
    );
  }

  override down(): void {
    this.addSql(`delete from admin_tasks where action = 'index_relations'`);
    this.addSql('drop index if exists events_relations_placed');
    this.addSql('create index if not exists events_relations on events (rel, nid) where rel is not null');
  }
}
