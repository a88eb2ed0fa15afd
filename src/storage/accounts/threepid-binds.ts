import { type Database, sql } from '../database.ts';
import type { AddressKey } from './account-threepids.ts';

const NOTE = sql(
  'threepid_bind_note',
  'insert into threepid_binds (user_id, medium, address, id_server) values ($1, $2, $3, $4) on conflict do nothing',
);
const SERVERS = sql(
  'threepid_bind_servers',
  'select id_server as "idServer" from threepid_binds where user_id = $1 and medium = $2 and address = $3',
);
const OF_USER = sql(
  'threepid_binds_of',
  'select medium, address, id_server as "idServer" from threepid_binds where user_id = $1 order by medium, address, id_server',
);
const FORGET_ALL = sql('threepid_binds_forget', 'delete from threepid_binds where user_id = $1');
const FORGET = sql(
  'threepid_bind_forget',
  'delete from threepid_binds where user_id = $1 and medium = $2 and address = $3 and id_server = $4',
);

/** Remembers that a user's address was bound with an identity server, so that it can be unbound there. */
export const noteBind = async (
  database: Database,
  userId: string,
  { medium, address }: AddressKey,
  idServer: string,
): Promise<void> => {
  await database.query(NOTE, [userId, medium, address, idServer]);
};

/** The identity servers with which this server bound a user's address. */
export const serversOfBind = async (
  database: Database,
  userId: string,
  { medium, address }: AddressKey,
): Promise<string[]> =>
  (await database.query<{ idServer: string }>(SERVERS, [userId, medium, address])).map(({ idServer }) => idServer);

/** All addresses of a user that this server bound, each with the identity server. */
export const bindsOf = (database: Database, userId: string): Promise<(AddressKey & { readonly idServer: string })[]> =>
  database.query(OF_USER, [userId]);

export const forgetBinds = async (database: Database, userId: string): Promise<void> => {
  await database.query(FORGET_ALL, [userId]);
};

export const forgetBind = async (
  database: Database,
  userId: string,
  { medium, address }: AddressKey,
  idServer: string,
): Promise<void> => {
  await database.query(FORGET, [userId, medium, address, idServer]);
};
