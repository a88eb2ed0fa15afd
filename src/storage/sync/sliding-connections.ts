import type { Database } from '../database.ts';
import { sql } from '../statement.ts';

/** What a connection of sliding sync knows, kept while no process runs. */
export interface SavedConnection {
  readonly userId: string;
  readonly deviceId: string;
  readonly connId: string;
  /** JSON. */
  readonly content: string;
}

// A device that was deleted meanwhile has no connection any more.
const SAVE = sql(
  'sliding_connections_save',
  `insert into sliding_connections (user_id, device_id, conn_id, content, saved_ts)
   select c.user_id, c.device_id, c.conn_id, c.content, $5
   from unnest($1::text[], $2::text[], $3::text[], $4::text[]) c(user_id, device_id, conn_id, content)
   join devices d on d.user_id = c.user_id and d.device_id = c.device_id for key share of d
   on conflict (user_id, device_id, conn_id) do update set content = excluded.content, saved_ts = excluded.saved_ts`,
);
const FIND = sql(
  'sliding_connection_find',
  'select content from sliding_connections where user_id = $1 and device_id = $2 and conn_id = $3',
);
const DELETE_OLD = sql('sliding_connections_old', 'delete from sliding_connections where saved_ts < $1');

/** @param now milliseconds since the epoch */
export const saveConnections = async (
  database: Database,
  connections: readonly SavedConnection[],
  now: number,
): Promise<void> => {
  await database.query(SAVE, [
    connections.map(({ userId }) => userId),
    connections.map(({ deviceId }) => deviceId),
    connections.map(({ connId }) => connId),
    connections.map(({ content }) => content),
    now,
  ]);
};

/** What is kept of a connection. */
export const findConnection = async (
  database: Database,
  userId: string,
  deviceId: string,
  connId: string,
): Promise<string | undefined> =>
  (await database.query<{ content: string }>(FIND, [userId, deviceId, connId]))[0]?.content;

/** Forgets those for which nobody came back. */
export const deleteOldConnections = async (database: Database, before: number): Promise<void> => {
  await database.query(DELETE_OLD, [before]);
};
