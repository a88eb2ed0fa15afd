import type { Database } from '../database.ts';
import { sql } from '../statement.ts';

/** A key of another server. */
export interface ServerKeyRow {
  readonly serverName: string;
  readonly keyId: string;
  /** 32 bytes. */
  readonly key: Buffer;
  readonly validUntil: number;
  readonly isOld: boolean;
  readonly fetchedAt: number;
}

/** A key, and the answer of its server in which it stood last. */
export interface ServerKeyAnswerRow extends ServerKeyRow {
  readonly answer: string;
}

const COLUMNS = `server_name as "serverName", key_id as "keyId", key, valid_until as "validUntil", is_old as "isOld", fetched_at as "fetchedAt"`;
const READ = sql('server_keys', `select ${COLUMNS} from server_keys where server_name = any($1::text[])`);
const READ_ANSWERS = sql(
  'server_key_answers',
  `select ${COLUMNS}, answer from server_keys where server_name = any($1::text[])`,
);
const SAVE = sql(
  'server_keys_save',
  `insert into server_keys (server_name, key_id, key, valid_until, is_old, fetched_at, answer)
   select $1, k.key_id, k.key, k.valid_until, k.is_old, $6, $7
   from unnest($2::text[], $3::bytea[], $4::bigint[], $5::boolean[]) k (key_id, key, valid_until, is_old)
   on conflict (server_name, key_id) do update set key = excluded.key, valid_until = excluded.valid_until,
     is_old = excluded.is_old, fetched_at = excluded.fetched_at, answer = excluded.answer`,
);
const TRIM = sql(
  'server_keys_trim',
  `delete from server_keys where (server_name, key_id) in (
     select server_name, key_id from (
       select server_name, key_id, row_number() over (order by valid_until desc, key_id) as place
       from server_keys where server_name = $1) ranked
     where place > $2)`,
);
const SWEEP = sql(
  'server_keys_sweep',
  `delete from server_keys where (server_name, key_id) in (
     select server_name, key_id from (
       select server_name, key_id, sum(octet_length(answer)) over (order by fetched_at desc, server_name, key_id) as bytes
       from server_keys) ranked
     where bytes > $1)`,
);

/** What is stored of the keys of these servers. */
export const readServerKeys = (database: Database, serverNames: readonly string[]): Promise<ServerKeyRow[]> =>
  database.query<ServerKeyRow>(READ, [serverNames]);

/** The same, with what the servers answered. */
export const readServerKeyAnswers = (
  database: Database,
  serverNames: readonly string[],
): Promise<ServerKeyAnswerRow[]> => database.query<ServerKeyAnswerRow>(READ_ANSWERS, [serverNames]);

/** Stores keys that stood in one answer of a server, and of that server the `most` keys that are valid for longest. */
export const saveServerKeys = async (
  database: Database,
  serverName: string,
  keys: readonly Omit<ServerKeyRow, 'serverName' | 'fetchedAt'>[],
  { answer, fetchedAt, most }: { readonly answer: string; readonly fetchedAt: number; readonly most: number },
): Promise<void> => {
  await database.query(SAVE, [
    serverName,
    keys.map(({ keyId }) => keyId),
    keys.map(({ key }) => key),
    keys.map(({ validUntil }) => validUntil),
    keys.map(({ isOld }) => isOld),
    fetchedAt,
    answer,
  ]);
  if (keys.length > 1) await database.query(TRIM, [serverName, most]);
};

/** Forgets the keys that were fetched longest ago, so that the answers take at most so many bytes. */
export const sweepServerKeys = async (database: Database, maxBytes: number): Promise<void> => {
  await database.query(SWEEP, [maxBytes]);
};
