import { type Database, sql, type Tx } from '../database.ts';

/** A registration that an administrator added. */
export interface AppserviceRecord {
  readonly id: string;
  /** SHA-256 of its `as_token`, in base64url. */
  readonly asTokenHash: string;
  /** JSON in the specification's spelling, without the `as_token`. */
  readonly registration: string;
  readonly createdTs: number;
}

const LIST = sql(
  'appservices_list',
  `select id, as_token_hash as "asTokenHash", registration, created_ts as "createdTs" from appservices order by created_ts, id`,
);
const PUT = sql(
  'appservice_put',
  `insert into appservices (id, as_token_hash, registration, created_ts) values ($1, $2, $3, $4)
   on conflict (id) do update set as_token_hash = excluded.as_token_hash, registration = excluded.registration`,
);
const DELETE = sql('appservice_delete', 'delete from appservices where id = $1 returning 1');

/** The oldest first. */
export const listAppservices = (database: Pick<Database, 'query'>): Promise<AppserviceRecord[]> =>
  database.query<AppserviceRecord>(LIST);

/** Adds a registration, or replaces the one with its id. */
export const putAppservice = async (tx: Tx, record: AppserviceRecord): Promise<void> => {
  const { asTokenHash, createdTs, id, registration } = record;
  await tx.query(PUT, [id, asTokenHash, registration, createdTs]);
};

/** Returns whether there was such a registration. */
export const deleteAppservice = async (tx: Tx, id: string): Promise<boolean> =>
  (await tx.query(DELETE, [id])).length > 0;
