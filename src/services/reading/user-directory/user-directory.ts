import type { Logger } from '#src/kernel/logger.ts';
import { isCompliantUserId } from '#src/protocol/identifiers/identifiers.ts';
import { foldText } from '#src/protocol/text/fold.ts';
import {
  directoryGrams,
  foldUserId,
  nameTerms,
  wantedIdGrams,
  wantedNameGrams,
} from '#src/protocol/text/name-grams.ts';
import type { FollowedEvent } from '#src/services/events/stream/event-follower.ts';
import type { ProfileService } from '#src/services/user-data/profiles/profile-service.ts';
import { isWorldReadable } from '#src/services/reading/access/room-access.ts';
import type { UserService } from '#src/services/accounts/users/user-service.ts';
import type { Database } from '#src/storage/database.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import {
  type DirectoryUserRow,
  outdatedDirectoryUsers,
  removeDirectoryUsers,
  searchDirectory,
  setDirectoryRooms,
  upsertDirectoryUsers,
} from '#src/storage/reading/user-directory.ts';

const DEFAULT_LIMIT = 10;
const MAX_LIMIT = 100;
const LONGEST_TERM = 500;
const CHECKED_AT_ONCE = 500;

const MEMBER = 'm.room.member';

/** The types of events that change whom the directory shows. */
export const DIRECTORY_TYPES = [MEMBER, 'm.room.join_rules', 'm.room.history_visibility'];

/** A user who was found. */
export interface DirectoryUser {
  readonly userId: string;
  readonly displayName: string | undefined;
  readonly avatarUrl: string | undefined;
}

export interface UserDirectoryOptions {
  readonly database: Database;
  readonly interner: Interner;
  readonly users: UserService;
  readonly profiles: ProfileService;
  readonly logger: Logger;
  readonly enabled: boolean;
  /** Whether every user of this server is found by everybody. */
  readonly searchAllUsers: boolean;
}

/**
 * Finds users by parts of their names and beginnings of their ids. Client-Server API, "User Directory".
 *
 * Names come from profiles only: what somebody calls themselves in one room is that room's business.
 */
export class UserDirectory {
  readonly #options: UserDirectoryOptions;
  readonly #outdated = new Set<string>();
  #running: Promise<void> = Promise.resolve();

  constructor(options: UserDirectoryOptions) {
    this.#options = options;
    const { profiles, users } = options;
    users.onRegistered(({ account }) => this.#renew(account.userId));
    users.onChanged(({ userId }) => this.#renew(userId));
    profiles.changed.subscribe(({ userId }) => this.#renew(userId));
  }

  /** Users who match every word of the term, the best matches first. */
  async search(
    searcher: string,
    query: { readonly term: string; readonly limit: number | undefined },
  ): Promise<{ readonly users: readonly DirectoryUser[]; readonly isLimited: boolean }> {
    const { database, enabled, interner, searchAllUsers } = this.#options;
    const limit = Math.min(query.limit ?? DEFAULT_LIMIT, MAX_LIMIT);
    const terms = nameTerms(query.term.slice(0, LONGEST_TERM).replaceAll('\0', ''));
    const [first] = terms;
    if (!enabled || first === undefined) return { users: [], isLimited: false };
    const found = await searchDirectory(database, {
      searcher: await interner.userNid(searcher),
      nameGrams: wantedNameGrams(first),
      idGrams: wantedIdGrams(first),
      terms,
      allLocal: searchAllUsers,
      limit: limit + 1,
    });
    const users = found.slice(0, limit).map((row) => ({
      userId: row.user_id,
      displayName: textIn(row.display_name),
      avatarUrl: textIn(row.avatar_url),
    }));
    return { users, isLimited: found.length > limit };
  }

  /** Takes events in: which rooms are open to everybody, and which users of other servers there are. */
  async take(events: readonly FollowedEvent[]): Promise<void> {
    const rooms = new Map<number, boolean>();
    const remote = new Map<string, DirectoryUserRow>();
    for (const { room, event } of events) {
      const { stateKey } = event;
      if (stateKey === undefined) continue;
      if (event.type !== MEMBER)
        rooms.set(room.nid, room.stateText('m.room.join_rules', 'join_rule') === 'public' || isWorldReadable(room));
      const member = event.type === MEMBER ? room.member(stateKey) : undefined;
      // "they SHOULD NOT forward such user IDs to clients when referenced outside the context of an event."
      if (member?.membership === 'join' && !member.local && isCompliantUserId(stateKey))
        remote.set(stateKey, rowOf(member.user, stateKey, { local: false, displayName: null, avatarUrl: null }));
    }
    const of = (isOpen: boolean): number[] => [...rooms].flatMap(([nid, is]) => (is === isOpen ? nid : []));
    await setDirectoryRooms(this.#options.database, of(true), of(false));
    await upsertDirectoryUsers(this.#options.database, [...remote.values()]);
  }

  /** Finds the entries that are not what accounts and profiles say: a process may end between the two. */
  resume(): void {
    this.#queue(async () => {
      for (let after: string | undefined = ''; after !== undefined;) {
        const found: string[] = await outdatedDirectoryUsers(this.#options.database, after, CHECKED_AT_ONCE);
        await this.#write(found);
        after = found.length < CHECKED_AT_ONCE ? undefined : found.at(-1);
      }
    });
  }

  /** Resolves when every entry is what accounts and profiles say. */
  async idle(): Promise<void> {
    for (let running: Promise<void> | undefined; running !== this.#running;) {
      running = this.#running;
      await running;
    }
  }

  #renew(userId: string): void {
    this.#outdated.add(userId);
    if (this.#outdated.size > 1) return;
    this.#queue(async () => {
      const userIds = [...this.#outdated];
      this.#outdated.clear();
      for (let at = 0; at < userIds.length; at += CHECKED_AT_ONCE)
        await this.#write(userIds.slice(at, at + CHECKED_AT_ONCE));
    });
  }

  #queue(work: () => Promise<void>): void {
    this.#running = this.#running.then(work).catch((err: unknown) => {
      // The next start finds what is missing.
      this.#options.logger.error('the user directory is not up to date', { err });
    });
  }

  async #write(userIds: readonly string[]): Promise<void> {
    if (userIds.length === 0) return;
    const { database, interner, profiles, users } = this.#options;
    await interner.ensureUsers(userIds);
    const rows: DirectoryUserRow[] = [];
    const gone: string[] = [];
    for (const userId of userIds) {
      const account = await users.account(userId);
      if (account === undefined || account.deactivated || account.isGuest) {
        gone.push(userId);
        continue;
      }
      const { displayname, avatarUrl } = await profiles.profileOf(userId);
      const json = (text: string | undefined): string | null => (text === undefined ? null : JSON.stringify(text));
      const names = { local: true, displayName: json(displayname), avatarUrl: json(avatarUrl) };
      rows.push(rowOf(interner.user(userId), userId, names));
    }
    await upsertDirectoryUsers(database, rows);
    if (gone.length > 0) await removeDirectoryUsers(database, gone);
  }
}

const rowOf = (
  user: number,
  userId: string,
  names: Pick<DirectoryUserRow, 'local' | 'displayName' | 'avatarUrl'>,
): DirectoryUserRow => {
  const foldedId = foldUserId(userId);
  const foldedName = foldText(textIn(names.displayName) ?? '');
  return { user, userId, ...names, foldedId, foldedName, grams: directoryGrams(foldedId, foldedName) };
};

const textIn = (json: string | null): string | undefined => {
  const value: unknown = json === null ? undefined : JSON.parse(json);
  return typeof value === 'string' ? value : undefined;
};
