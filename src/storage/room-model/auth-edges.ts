import type { Database } from '../database.ts';
import { sql } from '../statement.ts';

/** The auth events of state events, as numbers: the auth graph of a room, on which state resolution works. */
const AUTH_EDGES = sql(
  'events_auth_edges',
  'select nid, auth from events where room = $1 and nid > $2 and skey is not null order by nid',
);

const AUTH_EDGES_OF = sql(
  'events_auth_edges_of',
  'select nid, auth from events where room = $1 and nid = any($2::bigint[])',
);

/** Which events the state events of a room, from a position on, name as their auth events. */
export const authEdges = (
  database: Database,
  room: number,
  after: number,
): Promise<{ nid: number; auth: readonly number[] }[]> => database.query(AUTH_EDGES, [room, after]);

/** The same of certain events; unknown ones are left out. */
export const authEdgesOf = (
  database: Database,
  room: number,
  nids: readonly number[],
): Promise<{ nid: number; auth: readonly number[] }[]> => database.query(AUTH_EDGES_OF, [room, nids]);
