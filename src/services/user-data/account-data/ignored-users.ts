import { isUserId } from '#src/protocol/identifiers/identifiers.ts';
import { isJsonObject } from '#src/protocol/json/json-value.ts';
import type { AccountDataService } from './account-data-service.ts';
import type { AccountDataEntry, UserAccountData } from './user-account-data.ts';

export const IGNORED_USER_LIST = 'm.ignored_user_list';

const NOBODY: ReadonlySet<string> = new Set();
/** By the piece of account data that was read: the same set as long as the list stays the same. */
const parsed = new WeakMap<AccountDataEntry, ReadonlySet<string>>();

/**
 * Whether those who ignore these users are spared an event of a room. "the client will no longer receive events sent by that user, with
 * the exception of state events". Client-Server API, "Ignoring Users".
 */
export const isIgnored = (
  event: { readonly sender: string; readonly isState: boolean },
  ignored: ReadonlySet<string>,
): boolean => !event.isState && ignored.has(event.sender);

/** Whom a user ignores, by their account data: the same set as long as they do not change it. Nobody can ignore themselves. */
export const ignoredBy = (data: Pick<UserAccountData, 'userId' | 'entry'>): ReadonlySet<string> =>
  ignoredIn(data.userId, data.entry(0, IGNORED_USER_LIST));

const ignoredIn = (userId: string, entry: AccountDataEntry | undefined): ReadonlySet<string> => {
  if (entry === undefined) return NOBODY;
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

/** Whom users ignore. Client-Server API, "Ignoring Users". */
export class IgnoredUsers {
  readonly #accountData: Pick<AccountDataService, 'peekEntry' | 'entry'>;

  constructor(accountData: Pick<AccountDataService, 'peekEntry' | 'entry'>) {
    this.#accountData = accountData;
  }

  /** The users whom this one ignores, if that is in memory. */
  peek(userId: string): ReadonlySet<string> | undefined {
    const known = this.#accountData.peekEntry(userId, 0, IGNORED_USER_LIST);
    return known === undefined ? undefined : ignoredIn(userId, known ?? undefined);
  }

  /** The users whom this one ignores. */
  async of(userId: string): Promise<ReadonlySet<string>> {
    const known = this.#accountData.peekEntry(userId, 0, IGNORED_USER_LIST);
    const entry = known === undefined ? await this.#accountData.entry(userId, 0, IGNORED_USER_LIST) : known;
    return ignoredIn(userId, entry ?? undefined);
  }
}
