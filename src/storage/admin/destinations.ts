import { sql, type Database, type Tx } from '../database.ts';

/** A server known to this one. */
export interface DestinationRow {
  readonly destination: string;
  /** Since when it has not been reached, and when it is tried again; null while it is. */
  readonly since: number | null;
  readonly retryAt: number | null;
  /** The position up to which it was sent events; null where that is unknown. */
  readonly position: number | null;
}

const ORDERS = {
  destination: 'd.destination',
  retry_last_ts: 'd.since',
  retry_interval: `d."retryAt" - d.since`,
  failure_ts: 'd.since',
  last_successful_stream_ordering: 'd.position',
} as const;
export type DestinationOrder = keyof typeof ORDERS;
export const DESTINATION_ORDERS = Object.keys(ORDERS) as DestinationOrder[];

const DOMAIN = `substring(user_id from position(':' in user_id) + 1)`;
// From one server to the next by the index, so that the many users of a large one are not read.
const KNOWN = `with recursive outages as (
    select * from unnest($1::text[], $2::bigint[], $3::bigint[]) o(server_name, since, retry_at)
  ), servers as (
    select (select min(${DOMAIN}) from users where not local) as name
    union all select (select min(${DOMAIN}) from users where not local and ${DOMAIN} > s.name) from servers s where s.name is not null
  ), known as (
    select name as destination from servers where name is not null
    union select destination from deliveries where queue = 'federation' union select server_name from outages
  ), d as (
    select k.destination, o.since, o.retry_at as "retryAt", q.position from known k
    left join outages o on o.server_name = k.destination
    left join deliveries q on q.queue = 'federation' and q.destination = k.destination
    where $4::text is null or strpos(k.destination, lower($4)) > 0
  )`;
const COUNT = sql('destinations_count', `${KNOWN} select count(*)::int as count from d`);
const pageBy = (order: DestinationOrder, way: 'asc' | 'desc') =>
  sql(
    `destinations_by_${order}_${way}`,
    `${KNOWN} select d.* from d order by ${ORDERS[order]} ${way} nulls ${way === 'asc' ? 'first' : 'last'}, d.destination limit $5 offset $6`,
  );
const PAGES = new Map(
  DESTINATION_ORDERS.flatMap((order) =>
    (['asc', 'desc'] as const).map((way) => [`${order} ${way}`, pageBy(order, way)] as const),
  ),
);
const FIND = sql(
  'destination_find',
  `select q.position, exists (select 1 from users where not local and ${DOMAIN} = $1) as "hasUsers"
   from (select 1) one left join deliveries q on q.queue = 'federation' and q.destination = $1`,
);
const ROOMS = `(select distinct m.room from users u join member m on m.user_nid = u.nid and m.membership = 1
   where not u.local and substring(u.user_id from position(':' in u.user_id) + 1) = $1) shared
   join rooms r on r.nid = shared.room and not r.gone`;
const COUNT_ROOMS = sql('destination_rooms_count', `select count(*)::int as count from ${ROOMS}`);
const roomsPage = (way: 'asc' | 'desc') =>
  sql(
    `destination_rooms_${way}`,
    `select r.room_id as "roomId", (select max(nid) from events e where e.room = r.nid) as position
     from ${ROOMS} order by r.room_id ${way} limit $2 offset $3`,
  );
const ROOM_PAGES = { asc: roomsPage('asc'), desc: roomsPage('desc') };

export interface DestinationPage {
  readonly limit: number;
  readonly offset: number;
  readonly isDescending: boolean;
}

/** A server that could not be reached. */
export interface OutageRow {
  readonly destination: string;
  readonly since: number;
  readonly retryAt: number;
}

export interface DestinationQuery {
  /** Servers that are known only by their outage are listed too. */
  readonly outages: readonly OutageRow[];
  /** A part of their names. */
  readonly part?: string | undefined;
}

const valuesOf = ({ outages, part }: DestinationQuery): unknown[] => [
  outages.map(({ destination }) => destination),
  outages.map(({ since }) => since),
  outages.map(({ retryAt }) => retryAt),
  part ?? null,
];

export const listDestinations = (
  tx: Tx,
  query: DestinationQuery,
  order: DestinationOrder,
  { isDescending, limit, offset }: DestinationPage,
): Promise<DestinationRow[]> => {
  const statement = PAGES.get(`${order} ${isDescending ? 'desc' : 'asc'}`);
  if (statement === undefined) throw new Error(`destinations are not sorted by ${order}`);
  return tx.query<DestinationRow>(statement, [...valuesOf(query), limit, offset]);
};

export const countDestinations = async (tx: Tx, query: DestinationQuery): Promise<number> =>
  (await tx.query<{ count: number }>(COUNT, valuesOf(query)))[0]?.count ?? 0;

/** The stored state of a server: the position up to which it was sent events, and whether it has users in rooms here. */
export const findDestination = async (
  database: Database,
  destination: string,
): Promise<{ readonly position: number | null; readonly hasUsers: boolean } | undefined> =>
  (await database.query<{ position: number | null; hasUsers: boolean }>(FIND, [destination]))[0];

/** Rooms in which users of a server are, each with the position of its newest event. */
export const destinationRoomList = (
  tx: Tx,
  destination: string,
  { isDescending, limit, offset }: DestinationPage,
): Promise<{ readonly roomId: string; readonly position: number }[]> =>
  tx.query(ROOM_PAGES[isDescending ? 'desc' : 'asc'], [destination, limit, offset]);

export const countDestinationRooms = async (tx: Tx, destination: string): Promise<number> =>
  (await tx.query<{ count: number }>(COUNT_ROOMS, [destination]))[0]?.count ?? 0;
