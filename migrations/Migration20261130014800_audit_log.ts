import { Migration } from '@mikro-orm/migrations';

/** Who administrated what: rows that are only ever added, until the retention of the log lets go of them. */
export class Migration20261130014800_audit_log extends Migration {
  override up(): void {
    this.addSql(`create table audit_log (
      id bigint generated always as identity primary key,
      ts bigint not null,
      actor text,
      device_id text,
      ip text,
      via text not null,
      action text not null,
      target text,
      room_id text,
      task_id text,
      before_json text,
      after_json text,
      reason text
    )`);
    // One for each way in which it is read: the newest first, of anybody or of one; actions by their noun.
    this.addSql(`create index audit_log_time on audit_log (ts, id)`);
    this.addSql(`create index audit_log_actor on audit_log (actor, ts, id)`);
    this.addSql(`create index audit_log_action on audit_log (split_part(action, '.', 1), ts, id)`);
    this.addSql(`create index audit_log_target on audit_log (target, ts, id) where target is not null`);
    this.addSql(`create index audit_log_room on audit_log (room_id, ts, id) where room_id is not null`);
    this.addSql(`create function audit_log_is_append_only() returns trigger language plpgsql as $$
      begin
        if tg_op = 'DELETE' and current_setting('tsudoi.audit_retention', true) = 'on' then
          return null;
        end if;
        raise exception 'the audit log is only ever added to: % is refused', tg_op using errcode = '42501';
      end
    $$`);
    this.addSql(`create trigger audit_log_append_only before update or delete or truncate on audit_log
      for each statement execute function audit_log_is_append_only()`);
  }

  override down(): void {
    this.addSql(`drop table audit_log`);
    this.addSql(`drop function audit_log_is_append_only()`);
  }
}
