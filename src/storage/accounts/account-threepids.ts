import { type Database, sql, type Tx } from '../database.ts';

/** A third-party identifier, case-folded. */
export interface AddressKey {
  readonly medium: string;
  readonly address: string;
}

export interface AccountThreepidRecord extends AddressKey {
  readonly userId: string;
  /** Milliseconds since the epoch. */
  readonly validatedTs: number;
  readonly addedTs: number;
}

const LOCK = sql('threepid_lock', 'select pg_advisory_xact_lock(hashtextextended($1, 3))');
const OWNER = sql(
  'threepid_owner',
  'select user_id as "userId" from account_threepids where medium = $1 and address = $2',
);
const INSERT = sql(
  'threepid_insert',
  `insert into account_threepids (medium, address, user_id, validated_ts, added_ts) values ($1, $2, $3, $4, $5)
   on conflict do nothing returning 1`,
);

const COUNT = sql('threepids_count', 'select count(*)::int as count from account_threepids where user_id = $1');

const MAIL = sql(
  'threepids_mail',
  `select address from account_threepids where user_id = $1 and medium = 'email' order by added_ts, address`,
);

/** Keeps other transactions from giving the address away, or inviting its owner, until the transaction ends. */
export const lockAddress = async (tx: Tx, { medium, address }: AddressKey): Promise<void> => {
  await tx.query(LOCK, [`${medium} ${address}`]);
};

/** The owner of an address. */
export const ownerOfAddress = async (
  from: Pick<Database, 'query'> | Tx,
  { medium, address }: AddressKey,
): Promise<string | undefined> => (await from.query<{ userId: string }>(OWNER, [medium, address]))[0]?.userId;

/** The mail addresses of an account, the oldest first. */
export const mailAddressesOf = async (database: Database, userId: string): Promise<string[]> =>
  (await database.query<{ address: string }>(MAIL, [userId])).map(({ address }) => address);

export const countAccountThreepids = async (tx: Tx, userId: string): Promise<number> =>
  (await tx.query<{ count: number }>(COUNT, [userId]))[0]?.count ?? 0;

/** Returns whether the address was free. */
export const insertAccountThreepid = async (tx: Tx, record: AccountThreepidRecord): Promise<boolean> => {
  const { medium, address, userId, validatedTs, addedTs } = record;
  return (await tx.query(INSERT, [medium, address, userId, validatedTs, addedTs])).length > 0;
};

/** The addresses of an account, the oldest first. */
export const listAccountThreepids = async (tx: Tx, userId: string): Promise<AccountThreepidRecord[]> => {
  const orderBy = { addedTs: 'asc', medium: 'asc', address: 'asc' } as const;
  const { em, AccountThreepidEntity } = await tx.entities();
  return (await em.find(AccountThreepidEntity, { userId }, { orderBy })).map(
    ({ medium, address, userId: owner, validatedTs, addedTs }) => ({
      medium,
      address,
      userId: owner,
      validatedTs,
      addedTs,
    }),
  );
};

/** Returns whether the account had the address. */
export const deleteAccountThreepid = async (
  tx: Tx,
  userId: string,
  { medium, address }: AddressKey,
): Promise<boolean> => {
  const { em, AccountThreepidEntity } = await tx.entities();
  return (await em.nativeDelete(AccountThreepidEntity, { userId, medium, address })) > 0;
};

export const deleteAccountThreepids = async (tx: Tx, userId: string): Promise<void> => {
  const { em, AccountThreepidEntity } = await tx.entities();
  await em.nativeDelete(AccountThreepidEntity, { userId });
};
