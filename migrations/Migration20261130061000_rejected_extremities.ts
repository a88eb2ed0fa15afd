import { Migration } from '@mikro-orm/migrations';

/**
 * Forward extremities that were rejected once the members of a room were known give their place to what they came after: other servers are not
 * given rejected events. Flags: 2 rejected, 4 soft-failed, 8 outlier.
 */
export class Migration20261130061000_rejected_extremities extends Migration {
  override up(): void {
    this.addSql(`with recursive hidden (room, nid) as (
      select r.room, e.nid from room_tail r join events e on e.room = r.room and e.nid = any (r.extremities) where e.flags & 2 <> 0
      union
      select h.room, p.nid from hidden h
        join events e on e.room = h.room and e.nid = h.nid
        join events p on p.room = h.room and p.nid = any (e.prev) and p.flags & 6 <> 0
    ), ends (room, nid) as (
      select distinct h.room, p.nid from hidden h
        join events e on e.room = h.room and e.nid = h.nid
        join events p on p.room = h.room and p.nid = any (e.prev) and p.flags & 14 = 0
    ), wanted (room, extremities) as (
      select room, (array_agg(distinct nid order by nid desc))[1:20] from (
        select room, nid from ends
        union
        select r.room, e.nid from room_tail r join events e on e.room = r.room and e.nid = any (r.extremities)
          where e.flags & 2 = 0 and r.room in (select room from hidden)
      ) together group by room
    )
    update room_tail set extremities = wanted.extremities from wanted where room_tail.room = wanted.room`);
  }

  /** What was there before was of no use to anybody. */
  override down(): void {}
}
