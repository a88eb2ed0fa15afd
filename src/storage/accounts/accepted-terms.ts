import { sql, type Tx } from '../database.ts';

const INSERT = sql(
  'accepted_terms_insert',
  `insert into accepted_terms (user_id, policy, version, accepted_ts)
   select $1, t.policy, t.version, $4 from unnest($2::text[], $3::text[]) as t (policy, version) on conflict do nothing`,
);
const LIST = sql(
  'accepted_terms_list',
  `select policy, version, accepted_ts as "acceptedTs" from accepted_terms where user_id = $1 order by accepted_ts, policy, version`,
);

/** A version of a document that a user has accepted. */
export interface AcceptedTerms {
  readonly policy: string;
  readonly version: string;
  /** Milliseconds since the epoch. */
  readonly acceptedTs: number;
}

/** Notes that a user has accepted versions of documents. */
export const insertAcceptedTerms = async (
  tx: Tx,
  userId: string,
  versions: readonly (readonly [policy: string, version: string])[],
  now: number,
): Promise<void> => {
  await tx.query(INSERT, [userId, versions.map(([policy]) => policy), versions.map(([, version]) => version), now]);
};

/** What a user has accepted, the oldest first. */
export const listAcceptedTerms = (tx: Tx, userId: string): Promise<AcceptedTerms[]> =>
  tx.query<AcceptedTerms>(LIST, [userId]);
