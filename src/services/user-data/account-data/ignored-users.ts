import { isUserId } from '#src/protocol/identifiers/identifiers.ts';
import { isJsonObject } from '#src/protocol/json/json-value.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import type { AccountDataService } from './account-data-service.ts';
import { type AccountDataEntry, IGNORED_USER_LIST, type UserAccountData } from './user-account-data.ts';

export { IGNORED_USER_LIST };

const NO_USERS: ReadonlySet<string> = new Set();
/** By the piece of account data that was read: the same set as long as the list stays the same. */
const parsed = new WeakMap<AccountDataEntry, ReadonlySet<string>>();

/**
 * Whether an event of a room is hidden from a reader who ignores these users. "the client will no longer receive events sent by that user, with
 * the exception of state events". Client-Server API, "Ignoring Users".
 */
export const isIgnored = (
  event: { readonly sender: string; readonly isState: boolean },
  ignored: ReadonlySet<string>,
): boolean => !event.isState && ignored.has(event.sender);

/** The users that a user ignores, by their account data: the same set as long as they do not change it. Ignoring oneself has no effect. */
export const ignoredBy = (data: Pick<UserAccountData, 'userId' | 'entry'>): ReadonlySet<string> =>
  ignoredIn(data.userId, data.entry(0, IGNORED_USER_LIST));

const ignoredIn = (userId: string, entry: AccountDataEntry | undefined): ReadonlySet<string> => {
  if (entry === undefined) return NO_USERS;
  let users = parsed.get(entry);
  if (users === undefined) {
    const { ignored_users: list } = JSON.parse(entry.json) as { ignored_users?: unknown };
    // Clients write what they like there; only users can be ignored.
    const named = isJsonObject(list) ? Object.keys(list) : [];
    users = new Set(named.filter((one) => one !== userId && isUserId(one)));
    parsed.set(entry, users);
  }
  return users;
};

/** By the set of ignored users: the numbers of those who exist here. */
const numbers = new WeakMap<ReadonlySet<string>, Promise<readonly number[]>>();

/**
 * The numbers of ignored users, for statements. Users who became known since the list was first used may be missing: the result has to be filtered
 * with `isIgnored`, too. Lists may name thousands who do not exist, so they are not looked up each time.
 */
export const numbersOf = (
  ignored: ReadonlySet<string>,
  interner: Pick<Interner, 'find'>,
): Promise<readonly number[]> => {
  const known = numbers.get(ignored);
  if (known !== undefined) return known;
  const users = [...ignored];
  const looking = interner.find({ users }).then((names) => users.flatMap((userId) => names.peekUser(userId) ?? []));
  numbers.set(ignored, looking);
  looking.catch(() => numbers.delete(ignored));
  return looking;
};

/** Reads the users that a user ignores. Client-Server API, "Ignoring Users". */
export class IgnoredUsers {
  readonly #accountData: Pick<AccountDataService, 'peekEntry' | 'entry'>;

  constructor(accountData: Pick<AccountDataService, 'peekEntry' | 'entry'>) {
    this.#accountData = accountData;
  }

  /** The users that this one ignores, if that is in memory. */
  peek(userId: string): ReadonlySet<string> | undefined {
    const known = this.#accountData.peekEntry(userId, 0, IGNORED_USER_LIST);
    return known === undefined ? undefined : ignoredIn(userId, known ?? undefined);
  }

  /** The users that this one ignores. */
  async of(userId: string): Promise<ReadonlySet<string>> {
    const known = this.#accountData.peekEntry(userId, 0, IGNORED_USER_LIST);
    const entry = known === undefined ? await this.#accountData.entry(userId, 0, IGNORED_USER_LIST) : known;
    return ignoredIn(userId, entry ?? undefined);
  }
}
