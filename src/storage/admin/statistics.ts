import { sql, type Database, type Tx } from '../database.ts';

/** What a user has uploaded. */
export interface MediaUsageRow {
  readonly userId: string;
  readonly displayName: string | null;
  readonly count: number;
  /** Bytes. */
  readonly size: number;
}

export interface MediaUsageFilter {
  /** Uploaded at or after, and at or before, in milliseconds since the epoch. */
  readonly fromTs?: number | undefined;
  readonly untilTs?: number | undefined;
  /** A part of the localpart or of the display name. */
  readonly searchTerm?: string | undefined;
}

const ORDERS = {
  user_id: 'user_id',
  displayname: '"displayName"',
  media_count: 'count',
  media_length: 'size',
} as const;
export type MediaUsageOrder = keyof typeof ORDERS;
export const MEDIA_USAGE_ORDERS = Object.keys(ORDERS) as MediaUsageOrder[];

const USED = `(
    select m.user_id, (p.value::json #>> '{}') as "displayName", count(*)::int as count, sum(m.size)::bigint as size
    from media m left join profiles p on p.user_id = m.user_id and p.field = 'displayname'
    where m.origin = '' and m.created_ts >= $1 and m.created_ts <= $2
    group by m.user_id, p.value
  ) u where $3::text is null or strpos(lower(split_part(user_id, ':', 1)), lower($3)) > 0 or strpos(lower("displayName"), lower($3)) > 0`;
const COUNT = sql('media_usage_users', `select count(*)::int as count from ${USED}`);
const pageBy = (order: MediaUsageOrder, way: 'asc' | 'desc') =>
  sql(
    `media_usage_by_${order}_${way}`,
    `select user_id as "userId", "displayName", count, size from ${USED} order by ${ORDERS[order]} ${way}, user_id limit $4 offset $5`,
  );
const PAGES = new Map(
  MEDIA_USAGE_ORDERS.flatMap((order) =>
    (['asc', 'desc'] as const).map((way) => [`${order} ${way}`, pageBy(order, way)] as const),
  ),
);
/** Of the tables whose rows belong to rooms: what part of each belongs to the rooms that have most of it, by PostgreSQL's own sample. */
const LARGEST_ROOMS = sql(
  'largest_rooms',
  `select r.room_id as "roomId", sum(s.bytes * f.freq)::bigint as size from (
     select p.most_common_vals::text::int[] as rooms, p.most_common_freqs as freqs,
       pg_total_relation_size(format('%I.%I', p.schemaname, p.tablename)::regclass) as bytes
     from pg_stats p where p.schemaname = current_schema() and p.attname = 'room' and p.most_common_vals is not null
       and p.tablename in ('events', 'state_delta', 'member', 'receipts', 'mention', 'search_docs', 'account_data')
   ) s, unnest(s.rooms, s.freqs) f(room, freq) join rooms r on r.nid = f.room and not r.gone
   group by r.room_id order by size desc, r.room_id limit $1`,
);

const filterValues = ({ fromTs, searchTerm, untilTs }: MediaUsageFilter): unknown[] => [
  fromTs ?? 0,
  untilTs ?? Number.MAX_SAFE_INTEGER,
  searchTerm ?? null,
];

export const listMediaUsage = (
  tx: Tx,
  filter: MediaUsageFilter,
  order: MediaUsageOrder,
  { isDescending, limit, offset }: { readonly isDescending: boolean; readonly limit: number; readonly offset: number },
): Promise<MediaUsageRow[]> => {
  const statement = PAGES.get(`${order} ${isDescending ? 'desc' : 'asc'}`);
  if (statement === undefined) throw new Error(`usage of media is not sorted by ${order}`);
  return tx.query<MediaUsageRow>(statement, [...filterValues(filter), limit, offset]);
};

export const countMediaUsage = async (tx: Tx, filter: MediaUsageFilter): Promise<number> =>
  (await tx.query<{ count: number }>(COUNT, filterValues(filter)))[0]?.count ?? 0;

/** The rooms that take most space, with an estimate of how much, in bytes. */
export const largestRooms = (
  database: Database,
  limit: number,
): Promise<{ readonly roomId: string; readonly size: number }[]> => database.query(LARGEST_ROOMS, [limit]);
