/** Says of a position whether the event that was just written there is one that earlier events relate to. */
export type WasAwaited = (position: number) => boolean;

const END = ') select 1 from owned';

/**
 * The statement that writes a batch of events, which keeps what they relate to as long as that is nowhere, and connects what waited for
 * them. It answers with the positions of those that were awaited.
 *
 * Its parameters are those of the events ($4 room, $5 position, $7 id, $16 id of what it relates to) and of redactions ($61, $62): a row
 * is changed once in a statement, and what is redacted relates to nothing.
 */
export const withAwaitedRelations = (text: string): string =>
  text.replace(
    END,
    () => `), awaiting as (
    insert into awaited_relations (room, target, child)
    select e.room, e.rel_id, e.nid from owned, unnest($4::int[], $16::bytea[], $5::bigint[]) e(room, rel_id, nid)
    where e.rel_id is not null and not exists (select 1 from events t where t.event_id = e.rel_id)
  ), arrived as (
    delete from awaited_relations a using owned, unnest($4::int[], $7::bytea[], $5::bigint[]) e(room, event_id, nid)
    where a.room = e.room and a.target = e.event_id returning a.room, a.child, e.nid as target
  ), connected as (
    update events e set rel = a.target from arrived a where e.room = a.room and e.nid = a.child
      and not exists (select 1 from unnest($61::int[], $62::bigint[]) r(room, nid) where r.room = e.room and r.nid = e.nid)
  ) select (select array_agg(distinct a.target) from arrived a) as awaited from owned`,
  );
