import { type Database, sql, type Statement } from '../database.ts';

/** An entry of a list of accounts. */
export interface ListedAccount {
  readonly userId: string;
  readonly isGuest: boolean;
  readonly admin: boolean;
  readonly userType: string | null;
  readonly deactivated: boolean;
  readonly locked: boolean;
  readonly shadowBanned: boolean;
  readonly erased: boolean;
  /** JSON; null where there is none. */
  readonly displayname: string | null;
  readonly avatarUrl: string | null;
  /** Milliseconds since the epoch. */
  readonly createdTs: number;
  readonly lastSeenTs: number | null;
}

/** Conditions for accounts; those that are left out do not apply. */
export interface AccountFilter {
  /** In the localpart or in the display name, whatever the case. */
  readonly name?: string | undefined;
  /** In the user id, whatever the case. */
  readonly userId?: string | undefined;
  readonly isGuest?: false | undefined;
  readonly deactivated?: boolean | undefined;
  readonly admin?: boolean | undefined;
  readonly locked?: false | undefined;
  readonly notUserTypes?: readonly string[] | undefined;
  /** Leaves out those without a type. */
  readonly hasUserType?: boolean | undefined;
}

const ACCOUNT_ORDERS = [
  'name',
  'displayname',
  'is_guest',
  'admin',
  'deactivated',
  'user_type',
  'avatar_url',
  'shadow_banned',
  'creation_ts',
  'last_seen_ts',
  'locked',
] as const;
export type AccountOrder = (typeof ACCOUNT_ORDERS)[number];

/** A range of accounts in the order of an indexed key, and of the user ids where keys are equal. */
interface Part {
  readonly from: string;
  readonly where: string;
  /** SQL; left out where the user id is all. */
  readonly key?: string;
}

const ACCOUNTS = 'accounts a';
const flag = (column: string): readonly Part[] => [
  { from: ACCOUNTS, where: `not a.${column}` },
  { from: ACCOUNTS, where: `a.${column}` },
];
const field = (name: string): readonly Part[] => [
  {
    from: 'profiles p join accounts a using (user_id)',
    where: `p.field = '${name}'`,
    key: 'left(p.value, 256)',
  },
  {
    from: ACCOUNTS,
    where: `not exists (select 1 from profiles p where p.user_id = a.user_id and p.field = '${name}')`,
  },
];

/** Each order as parts, which follow each other forwards. Nobody can order by when users were last seen without looking at all devices. */
const PARTS: Readonly<Record<AccountOrder, readonly Part[]>> = {
  name: [{ from: ACCOUNTS, where: 'true', key: 'a.user_id' }],
  displayname: field('displayname'),
  avatar_url: field('avatar_url'),
  is_guest: flag('is_guest'),
  admin: flag('admin'),
  deactivated: flag('deactivated'),
  shadow_banned: flag('shadow_banned'),
  locked: flag('locked'),
  user_type: [
    { from: ACCOUNTS, where: 'a.user_type is not null', key: 'a.user_type' },
    { from: ACCOUNTS, where: 'a.user_type is null' },
  ],
  creation_ts: [{ from: ACCOUNTS, where: 'true', key: 'a.created_ts' }],
  last_seen_ts: [
    {
      from: `(select user_id, max(last_seen_ts) as seen from devices where last_seen_ts is not null group by user_id) d
        join accounts a using (user_id)`,
      where: 'true',
      key: 'd.seen',
    },
    {
      from: ACCOUNTS,
      where: 'not exists (select 1 from devices d where d.user_id = a.user_id and d.last_seen_ts is not null)',
    },
  ],
};

const FILTER = `($1::text is null or a.localpart like $1 or exists (
    select 1 from profiles f where f.user_id = a.user_id and f.field = 'displayname' and lower(f.value) like $2))
  and ($3::text is null or a.user_id like $3)
  and ($4::boolean is null or a.is_guest = $4)
  and ($5::boolean is null or a.deactivated = $5)
  and ($6::boolean is null or a.admin = $6)
  and ($7::boolean is null or a.locked = $7)
  and (case when a.user_type is null then not $9::boolean else a.user_type <> all($8::text[]) end)`;

const pageStatement = (order: AccountOrder, direction: 'f' | 'b'): Statement => {
  const word = direction === 'b' ? 'desc' : 'asc';
  // No part has to give more than all of the page and what comes before it.
  const parts = PARTS[order].map(
    ({ from, where, key }, index) =>
      `(select ${index} as part, ${key ?? 'null'} as key, a.user_id from ${from} where ${where} and ${FILTER}
        order by ${key === undefined ? '' : `${key} ${word}, `}a.user_id limit $10::int + $11::int)`,
  );
  return sql(
    `accounts_page_${order}_${direction}`,
    `select a.user_id as "userId", a.is_guest as "isGuest", a.admin, a.user_type as "userType", a.deactivated, a.locked,
       a.shadow_banned as "shadowBanned", a.erased, a.created_ts as "createdTs",
       (select value from profiles where user_id = a.user_id and field = 'displayname') as displayname,
       (select value from profiles where user_id = a.user_id and field = 'avatar_url') as "avatarUrl",
       (select max(last_seen_ts) from devices where user_id = a.user_id) as "lastSeenTs"
     from (
       select * from (${parts.join(' union all ')}) candidates
       order by part ${word}, key ${word}, user_id limit $10::int offset $11::int
     ) page join accounts a using (user_id) order by page.part ${word}, page.key ${word}, a.user_id`,
  );
};

const PAGES = new Map(
  ACCOUNT_ORDERS.flatMap((order) =>
    (['f', 'b'] as const).map((direction) => [`${order} ${direction}`, pageStatement(order, direction)] as const),
  ),
);
const COUNT = sql('accounts_count', `select count(*)::int as count from accounts a where ${FILTER}`);

/** A pattern for LIKE that finds a text anywhere. */
const anywhere = (text: string): string => `%${text.replace(/[\\%_]/g, String.raw`\$&`)}%`;

const valuesOf = (filter: AccountFilter): readonly unknown[] => [
  filter.name === undefined ? null : anywhere(filter.name.toLowerCase()),
  // Names are stored as JSON.
  filter.name === undefined ? null : anywhere(JSON.stringify(filter.name.toLowerCase()).slice(1, -1)),
  filter.userId === undefined ? null : anywhere(filter.userId.toLowerCase()),
  filter.isGuest ?? null,
  filter.deactivated ?? null,
  filter.admin ?? null,
  filter.locked ?? null,
  filter.notUserTypes ?? [],
  filter.hasUserType ?? false,
];

/** A page of the accounts that match. Accounts with the same key are in the order of their user ids, in both directions. */
export const accountPage = (
  database: Database,
  filter: AccountFilter,
  page: {
    readonly order: AccountOrder;
    readonly direction: 'f' | 'b';
    readonly limit: number;
    readonly offset: number;
  },
): Promise<ListedAccount[]> => {
  const statement = PAGES.get(`${page.order} ${page.direction}`);
  if (statement === undefined) throw new Error(`accounts have no order ${page.order} ${page.direction}`);
  return database.query<ListedAccount>(statement, [...valuesOf(filter), page.limit, page.offset]);
};

/** How many accounts match. */
export const countAccounts = async (database: Database, filter: AccountFilter): Promise<number> =>
  (await database.query<{ count: number }>(COUNT, valuesOf(filter)))[0]?.count ?? 0;
