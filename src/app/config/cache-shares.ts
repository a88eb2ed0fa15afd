import type { Config } from './config.ts';

/** The share of a budget that each cache may use. */
const USERS = {
  accountData: 6,
  accountDataPieces: 2,
  receipts: 6,
  pushRules: 4,
  inboxes: 2,
  profiles: 2,
  threads: 2,
  storedFilters: 1,
  inlineFilters: 1,
};
const REMOTE = { publicRooms: 4, rooms: 4, profiles: 2, profileAnswers: 2, aliases: 1 };

const divided = <Name extends string>(bytes: number, shares: Readonly<Record<Name, number>>): Record<Name, number> => {
  const entries = Object.entries<number>(shares);
  const whole = entries.reduce((sum, [, share]) => sum + share, 0);
  return Object.fromEntries(entries.map(([name, share]) => [name, Math.floor((bytes * share) / whole)])) as Record<
    Name,
    number
  >;
};

/** Bytes of memory for each of the caches of users' data: together `cache.users_bytes`. */
export const userCaches = ({ cache }: Pick<Config, 'cache'>): Readonly<Record<keyof typeof USERS, number>> =>
  divided(cache.usersBytes, USERS);

/** The same for the caches of other servers' answers, and `cache.remote_bytes`. */
export const remoteCaches = ({ cache }: Pick<Config, 'cache'>): Readonly<Record<keyof typeof REMOTE, number>> =>
  divided(cache.remoteBytes, REMOTE);
