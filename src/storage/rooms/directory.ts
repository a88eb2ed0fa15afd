import type { Database } from '../database.ts';
import { sql } from '../statement.ts';

/** A room that is listed in the directory. */
export interface ListedRecord {
  readonly nid: number;
  readonly version: string;
  readonly room_type: string | null;
  /** Joined members. */
  readonly joined: number;
}

const LISTED = sql(
  'directory_listed',
  `select r.nid, r.version, r.room_type, (select count(*) from member m where m.room = r.nid and m.membership = 1)::int as joined
   from rooms r where r.is_public`,
);
const OF_NETWORKS = sql(
  'directory_of_networks',
  `select l.appservice || '|' || l.network as "instanceId", r.nid, r.version, r.room_type,
    (select count(*) from member m where m.room = r.nid and m.membership = 1)::int as joined
   from appservice_rooms l join rooms r on r.nid = l.room`,
);
const LIST_IN_NETWORK = sql(
  'directory_list_in_network',
  'insert into appservice_rooms (appservice, network, room) values ($1, $2, $3) on conflict do nothing',
);
const DELIST_IN_NETWORK = sql(
  'directory_delist_in_network',
  'delete from appservice_rooms where appservice = $1 and network = $2 and room = $3',
);
const SET_LISTED = sql('directory_set_listed', 'update rooms set is_public = $2 where nid = $1');

/** The rooms that are listed in this server's own directory. */
export const listedRooms = (database: Database): Promise<ListedRecord[]> => database.query<ListedRecord>(LISTED);

/** Lists a room in this server's own directory, or no longer. */
export const setListed = async (database: Database, room: number, isListed: boolean): Promise<void> => {
  await database.query(SET_LISTED, [room, isListed]);
};

/** A room that an application service lists for a network. */
export interface NetworkListing {
  readonly appservice: string;
  readonly network: string;
  readonly room: number;
}

/** The rooms that application services list, and for which network each: a room is there once for each of them. */
export const roomsOfNetworks = (database: Database): Promise<(ListedRecord & { readonly instanceId: string })[]> =>
  database.query(OF_NETWORKS);

/** Lists a room for a network of an application service, or no longer. */
export const setListedInNetwork = async (
  database: Database,
  { appservice, network, room }: NetworkListing,
  isListed: boolean,
): Promise<void> => {
  await database.query(isListed ? LIST_IN_NETWORK : DELIST_IN_NETWORK, [appservice, network, room]);
};
