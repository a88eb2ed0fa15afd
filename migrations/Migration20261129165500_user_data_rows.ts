import { Migration } from '@mikro-orm/migrations';

/** Tags and push rules become rows of their own: until now each was one piece of account data, and every change wrote it whole. */
export class Migration20261129165500_user_data_rows extends Migration {
  override up(): void {
    this.addSql(`create table room_tags (
      user_nid int not null,
      room int not null,
      tag text not null,
      content text not null,
      primary key (user_nid, room, tag)
    )`);
    // kind: override, content, room, sender, underride. place: null for a rule of the server, which is here for what was changed of it.
    this.addSql(`create table push_rules (
      user_nid int not null,
      kind smallint not null,
      rule_id text not null,
      place double precision,
      enabled boolean,
      content text not null,
      primary key (user_nid, kind, rule_id)
    )`);

    // Clients could write anything into these pieces, also what PostgreSQL's text cannot hold: whatever does not fit is left out, piece by piece.
    this.addSql(`do $$
      declare
        piece record;
        old jsonb;
      begin
        for piece in select user_nid, room, type, content from account_data where type = 'm.tag' and room <> 0 loop
          begin
            old := piece.content::jsonb;
            if jsonb_typeof(old -> 'tags') = 'object' then
              insert into room_tags (user_nid, room, tag, content)
              select piece.user_nid, piece.room, t.key, t.value::text from jsonb_each(old -> 'tags') t
              where jsonb_typeof(t.value) = 'object' and octet_length(t.key) <= 255;
              update account_data set content = jsonb_set(old, '{tags}', coalesce((
                select jsonb_object_agg(t.key, t.value) from jsonb_each(old -> 'tags') t where jsonb_typeof(t.value) <> 'object'
              ), '{}'))::text where user_nid = piece.user_nid and room = piece.room and type = piece.type;
            end if;
          exception when others then
            update account_data set content = '{"tags":{}}' where user_nid = piece.user_nid and room = piece.room and type = piece.type;
          end;
        end loop;

        for piece in select user_nid, content from account_data where type = 'm.push_rules' and room = 0 loop
          begin
            old := piece.content::jsonb;
            insert into push_rules (user_nid, kind, rule_id, place, enabled, content)
            select piece.user_nid, k.kind - 1, r.rule ->> 'rule_id', r.place * 1024, (r.rule ->> 'enabled')::boolean,
              (r.rule - 'rule_id' - 'default' - 'enabled')::text
            from unnest(array['override', 'content', 'room', 'sender', 'underride']) with ordinality k(name, kind),
              jsonb_array_elements(coalesce(old -> 'own' -> k.name, '[]')) with ordinality r(rule, place)
            where octet_length(r.rule ->> 'rule_id') <= 1024
            on conflict do nothing;
            insert into push_rules (user_nid, kind, rule_id, place, enabled, content)
            select piece.user_nid, case when d.key in ('.m.rule.call', '.m.rule.encrypted_room_one_to_one', '.m.rule.room_one_to_one',
                '.m.rule.message', '.m.rule.encrypted') then 4 else 0 end,
              d.key, null, (d.value ->> 'enabled')::boolean, (d.value - 'enabled')::text
            from jsonb_each(coalesce(old -> 'defaults', '{}')) d
            on conflict do nothing;
          exception when others then
            raise warning 'the push rules of user % could not be carried over: %', piece.user_nid, sqlerrm;
          end;
        end loop;
        update account_data set content = '{}' where type = 'm.push_rules' and room = 0;
      end
    $$`);
  }

  override down(): void {
    this.addSql(`drop table push_rules`);
    this.addSql(`drop table room_tags`);
  }
}
