import { pageLimit } from '#src/kernel/limits/page-limit.ts';
import { nameTerms, wantedIdGrams, wantedNameGrams } from '#src/protocol/text/name-grams.ts';
import type { PolicyGate } from '#src/services/policy/gate/policy-gate.ts';
import type { EventFollower } from '#src/services/events/stream/event-follower.ts';
import type { Database } from '#src/storage/database.ts';
import { searchDirectory } from '#src/storage/reading/user-directory.ts';
import { type DirectoryEntries, directoryText } from './directory-entries.ts';

export const MAX_LIMIT = 100;
const PAGE = { usual: 10, greatest: MAX_LIMIT };
export const MAX_TERM_LENGTH = 500;
/** How long a search waits until what happened in rooms before can be found. */
const MAX_WAIT_MS = 1_000;

/** A user who was found. */
export interface DirectoryUser {
  readonly userId: string;
  readonly displayName: string | undefined;
  readonly avatarUrl: string | undefined;
}

export interface UserDirectoryOptions {
  readonly database: Database;
  readonly entries: Pick<DirectoryEntries, 'catchUp'>;
  /** The follower that updates the entries of rooms. */
  readonly follower: Pick<EventFollower, 'reached'>;
  /** Shadow-banned users, who are left out. */
  readonly policy: Pick<PolicyGate, 'shownTo'>;
  readonly enabled: boolean;
  /** Whether every local user can be found by every user. */
  readonly searchAllUsers: boolean;
}

/** Finds users by parts of their names and beginnings of their ids. Client-Server API, "User Directory". */
export class UserDirectory {
  readonly #options: UserDirectoryOptions;

  constructor(options: UserDirectoryOptions) {
    this.#options = options;
  }

  /** Users who match every word of the term, the best matches first. */
  async search(
    searcher: string,
    query: { readonly term: string; readonly limit: number | undefined },
  ): Promise<{ readonly users: readonly DirectoryUser[]; readonly isLimited: boolean }> {
    const { database, enabled, entries, follower, policy, searchAllUsers } = this.#options;
    const limit = pageLimit(query.limit, PAGE);
    const terms = nameTerms(query.term.slice(0, MAX_TERM_LENGTH));
    const [first] = terms;
    if (!enabled || first === undefined) return { users: [], isLimited: false };
    await Promise.all([entries.catchUp(), follower.reached(MAX_WAIT_MS)]);
    const found = await searchDirectory(database, {
      searcher,
      nameGrams: wantedNameGrams(first),
      idGrams: wantedIdGrams(first),
      terms,
      allLocal: searchAllUsers,
      limit: limit + 1,
    });
    const users = found.slice(0, limit).map((row) => ({
      userId: row.user_id,
      displayName: directoryText(row.display_name),
      avatarUrl: directoryText(row.avatar_url),
    }));
    return { users: await policy.shownTo(searcher, users), isLimited: found.length > limit };
  }
}
