import { type Database, sql, type Tx } from '../database.ts';

/** A user's id at an identity provider. */
export interface ExternalId {
  readonly provider: string;
  readonly externalId: string;
}

const OWNER = sql(
  'external_id_owner',
  'select user_id as "userId" from external_ids where provider = $1 and external_id = $2',
);
const LIST = sql(
  'external_ids_list',
  'select provider, external_id as "externalId" from external_ids where user_id = $1 order by provider, external_id',
);
const REPLACE = sql(
  'external_ids_replace',
  `with wanted as (select * from unnest($2::text[], $3::text[]) as w (provider, external_id)),
   gone as (
     delete from external_ids e where user_id = $1
       and not exists (select 1 from wanted w where w.provider = e.provider and w.external_id = e.external_id)
   )
   insert into external_ids (provider, external_id, user_id) select provider, external_id, $1 from wanted
   order by provider, external_id on conflict do nothing`,
);
const OTHERS = sql(
  'external_ids_of_others',
  `select 1 from external_ids e join unnest($2::text[], $3::text[]) as w (provider, external_id) using (provider, external_id)
   where e.user_id <> $1 limit 1`,
);

/** The user that an identity provider knows by an id. */
export const ownerOfExternalId = async (
  database: Database,
  { provider, externalId }: ExternalId,
): Promise<string | undefined> => (await database.query<{ userId: string }>(OWNER, [provider, externalId]))[0]?.userId;

/** A user's ids at identity providers. */
export const listExternalIds = (from: Pick<Database, 'query'> | Tx, userId: string): Promise<ExternalId[]> =>
  from.query<ExternalId>(LIST, [userId]);

/** Makes these the ids of a user, and no others. @returns false if one of them is another user's: the transaction must not commit then */
export const replaceExternalIds = async (tx: Tx, userId: string, ids: readonly ExternalId[]): Promise<boolean> => {
  const values = [userId, ids.map(({ provider }) => provider), ids.map(({ externalId }) => externalId)];
  await tx.query(REPLACE, values);
  // Ids that existed before, or were added in between, are visible by now.
  return (await tx.query(OTHERS, values)).length === 0;
};
