import { Migration } from '@mikro-orm/migrations';

/**
 * Rows of state as bytes: a third of what arrays of eight bytes a number take. `src/protocol/wire/packed-state.ts` says how they are
 * written; what is here writes the rows that are there already in the same way.
 */
export class Migration20261123001600_packed_states extends Migration {
  override up(): void {
    // LEB128 of up to 56 bits: the bytes of a big integer, from its second-highest on, with the lowest seven bits in front.
    this.addSql(`create function pack_number(n bigint) returns bytea language sql immutable as $$
      select case
        when n < 128 then substr(int8send(n), 8, 1)
        when n < 16384 then substr(int8send(((n & 127 | 128) << 8) | (n >> 7)), 7, 2)
        when n < 2097152 then substr(int8send(((n & 127 | 128) << 16) | ((n >> 7 & 127 | 128) << 8) | (n >> 14)), 6, 3)
        when n < 268435456 then substr(int8send(((n & 127 | 128) << 24) | ((n >> 7 & 127 | 128) << 16)
          | ((n >> 14 & 127 | 128) << 8) | (n >> 21)), 5, 4)
        else int4send((((n & 127 | 128) << 24) | ((n >> 7 & 127 | 128) << 16) | ((n >> 14 & 127 | 128) << 8)
          | (n >> 21 & 127 | 128))::bit(32)::int) || pack_number(n >> 28)
      end
    $$`);
    this.addSql(`create function pack_entries(nid bigint, skeys int[], events bigint[]) returns bytea language sql immutable as $$
      select coalesce(string_agg(pack_number(e.skey - e.before) || case
          when e.event = 0 then pack_number(0)
          when nid >= e.event and (nid - e.event) % 16 = 0 then pack_number(2 + (nid - e.event) / 16)
          else pack_number(1) || pack_number(case when e.event < 0 then -2 * e.event - 1 else 2 * e.event end)
        end, ''::bytea order by e.skey), ''::bytea)
      from (
        select u.skey::bigint, u.event, coalesce(lag(u.skey) over (order by u.skey), 0)::bigint as before
        from unnest(skeys, events) u(skey, event)
      ) e
    $$`);
    this.addSql(`create function pack_chain(nid bigint, chain bigint[]) returns bytea language sql immutable as $$
      select case when cardinality(chain) = 0 then ''::bytea else (
        select substr(int8send(w.width), 8, 1) || string_agg(substr(int8send(nid - c.id), 9 - w.width, w.width), ''::bytea order by c.place)
        from unnest(chain) with ordinality c(id, place), (
          select case
              when min(nid - id) < 0 or max(nid - id) >= 1::bigint << 48 then 8
              when max(nid - id) < 1 << 8 then 1
              when max(nid - id) < 1 << 16 then 2
              when max(nid - id) < 1 << 24 then 3
              when max(nid - id) < 1::bigint << 32 then 4
              when max(nid - id) < 1::bigint << 40 then 5
              else 6
            end as width from unnest(chain) u(id)
        ) w group by w.width
      ) end
    $$`);
    // Written into a table of its own: updated in place, each row would be there twice until the next vacuum, and its pages for ever.
    this.addSql(`alter table state_delta rename to state_delta_arrays`);
    this.addSql(`create table state_delta (
      nid bigint not null,
      room int not null,
      seq int not null,
      chain bytea not null,
      others bytea not null,
      members bytea not null
    ) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 2)`);
    this.addSql(`insert into state_delta (nid, room, seq, chain, others, members)
      select nid, room, seq, pack_chain(nid, chain), pack_entries(nid, skeys, events), pack_entries(nid, member_skeys, member_events)
      from state_delta_arrays order by nid`);
    this.addSql(`drop table state_delta_arrays`);
    // After the rows, so that the indexes are built in one go.
    this.addSql(`alter table state_delta add primary key (nid)`);
    this.addSql(`create index state_delta_room on state_delta (room)`);
    // Purges go from the newest old event to the oldest now: those under way begin anew.
    this.addSql(`delete from room_purges`);
    for (const name of ['pack_chain', 'pack_entries', 'pack_number']) this.addSql(`drop function ${name}`);
  }

  override down(): void {
    this.addSql(`delete from room_purges`);
    this.addSql(`create function unpack_entries(nid bigint, packed bytea, out skeys int[], out events bigint[]) language plpgsql as $$
      declare
        at int := 0;
        skey bigint := 0;
        number bigint;
        place int;
        word int := 0;
        code bigint;
      begin
        skeys := '{}';
        events := '{}';
        while at < length(packed) loop
          number := 0;
          place := 0;
          loop
            number := number | ((get_byte(packed, at) & 127)::bigint << place);
            place := place + 7;
            at := at + 1;
            exit when get_byte(packed, at - 1) < 128;
          end loop;
          if word = 0 then
            skey := skey + number;
            skeys := skeys || skey::int;
            word := 1;
          elsif word = 1 and number = 1 then
            word := 2;
          else
            code := case when word = 2 then case when number % 2 = 0 then number / 2 else -(number + 1) / 2 end
              when number = 0 then 0 else nid - (number - 2) * 16 end;
            events := events || code;
            word := 0;
          end if;
        end loop;
      end
    $$`);
    this.addSql(`alter table state_delta rename to state_delta_packed`);
    this.addSql(`create table state_delta (
      nid bigint not null,
      room int not null,
      seq int not null,
      chain bigint[] not null,
      skeys int[] not null,
      events bigint[] not null,
      member_skeys int[] not null,
      member_events bigint[] not null
    ) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 2)`);
    this.addSql(`insert into state_delta
      select d.nid, d.room, d.seq, array(
          select d.nid - ('x' || lpad(encode(substr(d.chain, 2 + i * get_byte(d.chain, 0), get_byte(d.chain, 0)), 'hex'), 16, '0'))::bit(64)::bigint
          from generate_series(0, case when length(d.chain) = 0 then -1 else (length(d.chain) - 1) / get_byte(d.chain, 0) - 1 end) i
        ), o.skeys, o.events, m.skeys, m.events
      from state_delta_packed d, unpack_entries(d.nid, d.others) o, unpack_entries(d.nid, d.members) m order by d.nid`);
    this.addSql(`drop table state_delta_packed`);
    this.addSql(`alter table state_delta add primary key (nid)`);
    this.addSql(`create index state_delta_room on state_delta (room)`);
    this.addSql(`drop function unpack_entries`);
  }
}
