import type { Database } from '../database.ts';
import { sql, type Statement, UNHURRIED } from '../statement.ts';

/** The facts by which rooms are listed and sorted, beside those of their own row. */
export interface RoomOverviewRow {
  readonly room: number;
  readonly name: string | null;
  readonly canonicalAlias: string | null;
  /** Joined members. */
  readonly joined: number;
  /** Joined members of this server. */
  readonly joinedLocal: number;
  /** The algorithm of `m.room.encryption`. */
  readonly encryption: string | null;
  readonly federatable: boolean;
  readonly joinRules: string | null;
  readonly guestAccess: string | null;
  readonly historyVisibility: string | null;
  /** Entries of its state, memberships among them. */
  readonly stateEvents: number;
}

/** A room of the list. */
export interface ListedRoomRecord extends RoomOverviewRow {
  readonly roomId: string;
  readonly version: string;
  readonly creator: string;
  readonly isPublic: boolean;
  readonly roomType: string | null;
}

/** The orders of the list, with the column of each. */
const COLUMNS = {
  name: 'o.name',
  canonical_alias: 'o.canonical_alias',
  joined_members: 'o.joined',
  joined_local_members: 'o.joined_local',
  version: 'r.version',
  creator: 'u.user_id',
  encryption: 'o.encryption',
  federatable: 'o.federatable',
  public: 'r.is_public',
  join_rules: 'o.join_rules',
  guest_access: 'o.guest_access',
  history_visibility: 'o.history_visibility',
  state_events: 'o.state_events',
} as const;

export type RoomOrder = keyof typeof COLUMNS;

/** Which rooms are listed; members that are left out do not filter. */
export interface RoomListFilter {
  /** A part of the name or of the alias before the colon, or a whole room id. */
  readonly searchTerm?: string | undefined;
  readonly isPublic?: boolean | undefined;
  /** Whether it has no members. */
  readonly isEmpty?: boolean | undefined;
}

const UPSERT = sql(
  'room_overviews_upsert',
  `with ${UNHURRIED}
   insert into room_overviews (room, name, canonical_alias, joined, joined_local, encryption, federatable, join_rules, guest_access,
     history_visibility, state_events)
   select r.nid, n.name, n.alias, n.joined, n.joined_local, n.encryption, n.federatable, n.join_rules, n.guest_access, n.visibility, n.state
   from unhurried, unnest($1::int[], $2::text[], $3::text[], $4::int[], $5::int[], $6::text[], $7::boolean[], $8::text[], $9::text[], $10::text[], $11::int[])
     n(room, name, alias, joined, joined_local, encryption, federatable, join_rules, guest_access, visibility, state)
   join rooms r on r.nid = n.room and not r.gone
   on conflict (room) do update set name = excluded.name, canonical_alias = excluded.canonical_alias, joined = excluded.joined,
     joined_local = excluded.joined_local, encryption = excluded.encryption, federatable = excluded.federatable,
     join_rules = excluded.join_rules, guest_access = excluded.guest_access, history_visibility = excluded.history_visibility,
     state_events = excluded.state_events`,
);
const FILTERED = `room_overviews o join rooms r on r.nid = o.room and not r.gone join users u on u.nid = r.creator
   where ($1::text is null or lower(o.name) like lower($1) or lower(o.canonical_alias) like lower($2) or r.room_id = $3)
     and ($4::boolean is null or r.is_public = $4) and ($5::boolean is null or (o.joined = 0) = $5)`;
const COUNT = sql('room_list_count', `select count(*)::int as count from ${FILTERED}`);
const RECORD = `o.room, o.name, o.canonical_alias as "canonicalAlias", o.joined, o.joined_local as "joinedLocal", o.encryption, o.federatable,
     o.join_rules as "joinRules", o.guest_access as "guestAccess", o.history_visibility as "historyVisibility",
     o.state_events as "stateEvents", r.room_id as "roomId", r.version, u.user_id as creator, r.is_public as "isPublic",
     r.room_type as "roomType"`;

const pageBy = (order: RoomOrder, direction: 'asc' | 'desc'): Statement =>
  sql(
    `room_list_${order}_${direction}`,
    `select ${RECORD} from ${FILTERED} order by ${COLUMNS[order]} ${direction}, o.room ${direction} limit $6 offset $7`,
  );
const PAGES = new Map(
  (Object.keys(COLUMNS) as RoomOrder[]).flatMap((order) =>
    (['asc', 'desc'] as const).map((direction) => [`${order} ${direction}`, pageBy(order, direction)] as const),
  ),
);

const part = (text: string): string => text.replaceAll(/[\\%_]/g, String.raw`\$&`);

const filterValues = ({ searchTerm, isPublic, isEmpty }: RoomListFilter): unknown[] => [
  searchTerm === undefined ? null : `%${part(searchTerm)}%`,
  searchTerm === undefined ? null : `#%${part(searchTerm)}%:%`,
  searchTerm ?? null,
  isPublic ?? null,
  isEmpty ?? null,
];

/** Writes the overviews of rooms. Deleted rooms stay unlisted. */
export const writeRoomOverviews = async (database: Database, rows: readonly RoomOverviewRow[]): Promise<void> => {
  if (rows.length === 0) return;
  await database.query(UPSERT, [
    rows.map(({ room }) => room),
    rows.map(({ name }) => name),
    rows.map(({ canonicalAlias }) => canonicalAlias),
    rows.map(({ joined }) => joined),
    rows.map(({ joinedLocal }) => joinedLocal),
    rows.map(({ encryption }) => encryption),
    rows.map(({ federatable }) => federatable),
    rows.map(({ joinRules }) => joinRules),
    rows.map(({ guestAccess }) => guestAccess),
    rows.map(({ historyVisibility }) => historyVisibility),
    rows.map(({ stateEvents }) => stateEvents),
  ]);
};

/** A page of the rooms of this server. */
export const listRooms = (
  database: Database,
  query: RoomListFilter & {
    readonly order: RoomOrder;
    readonly isDescending: boolean;
    readonly limit: number;
    readonly offset: number;
  },
): Promise<ListedRoomRecord[]> => {
  const statement = PAGES.get(`${query.order} ${query.isDescending ? 'desc' : 'asc'}`);
  if (statement === undefined) throw new Error(`rooms are not sorted by ${query.order}`);
  return database.query<ListedRoomRecord>(statement, [...filterValues(query), query.limit, query.offset]);
};

/** How many rooms a list has. */
export const countRooms = async (database: Database, filter: RoomListFilter): Promise<number> =>
  (await database.query<{ count: number }>(COUNT, filterValues(filter)))[0]?.count ?? 0;
