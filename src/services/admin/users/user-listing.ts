import {
  type AccountFilter,
  type AccountOrder,
  accountPage,
  countAccounts,
  type ListedAccount,
} from '#src/storage/accounts/account-pages.ts';
import { ownerOfAddress } from '#src/storage/accounts/account-threepids.ts';
import { ownerOfExternalId } from '#src/storage/accounts/external-ids.ts';
import type { Database } from '#src/storage/database.ts';
import { thirdPartyId } from '#src/protocol/identifiers/third-party-id.ts';
import { userNotFound } from './local-accounts.ts';

export type { AccountFilter, AccountOrder } from '#src/storage/accounts/account-pages.ts';

/** An account as it stands in a list. */
export interface ListedUser extends Omit<ListedAccount, 'displayname' | 'avatarUrl'> {
  readonly displayname: string | null;
  readonly avatarUrl: string | null;
}

export interface UserPage {
  readonly users: readonly ListedUser[];
  /** How many there are on all pages. */
  readonly total: number;
  /** Where the next page begins; undefined on the last one. */
  readonly next?: number;
}

/** Users on one page, however many are asked for. */
export const MAX_USERS = 1_000;

/** Finds users for administrators. */
export class UserListing {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async page(
    filter: AccountFilter,
    {
      from,
      limit,
      ...order
    }: {
      readonly order: AccountOrder;
      readonly direction: 'f' | 'b';
      readonly from: number;
      readonly limit: number;
    },
  ): Promise<UserPage> {
    const page = { ...order, offset: from, limit: Math.min(limit, MAX_USERS) };
    const [found, total] = await Promise.all([
      accountPage(this.#database, filter, page),
      countAccounts(this.#database, filter),
    ]);
    const users = found.map((user) => ({
      ...user,
      displayname: text(user.displayname),
      avatarUrl: text(user.avatarUrl),
    }));
    const next = from + users.length;
    return { users, total, ...(next < total ? { next } : {}) };
  }

  /** The first users whose ids contain a text. */
  async search(term: string): Promise<readonly ListedUser[]> {
    const page = { order: 'name', direction: 'f', from: 0, limit: MAX_USERS } as const;
    return (await this.page({ userId: term }, page)).users;
  }

  /** The user that a third-party address belongs to. @throws MatrixError M_NOT_FOUND */
  async ofAddress(medium: string, address: string): Promise<string> {
    const id = thirdPartyId(medium, address);
    const owner = id && (await ownerOfAddress(this.#database, id));
    if (owner === undefined) throw userNotFound();
    return owner;
  }

  /** The user that an identity provider knows by an id. @throws MatrixError M_NOT_FOUND */
  async ofExternalId(provider: string, externalId: string): Promise<string> {
    const owner = await ownerOfExternalId(this.#database, { provider, externalId });
    if (owner === undefined) throw userNotFound();
    return owner;
  }
}

const text = (json: string | null): string | null => {
  const value: unknown = json === null ? null : JSON.parse(json);
  return typeof value === 'string' ? value : null;
};
