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
import type { AccountStream } from '#src/services/accounts/stream/account-stream.ts';
import type { UserService } from '#src/services/accounts/users/user-service.ts';
import type { Database } from '#src/storage/database.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import {
  type DirectoryUserRow,
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
  readonly accountStream: AccountStream;
  readonly profiles: ProfileService;
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
  /** Users whose account or profile changed since they were written: a job will write them, unless a search does so before. */
  readonly #outdated = new Set<string>();

  constructor(options: UserDirectoryOptions) {
    this.#options = options;
    const { accountStream, profiles } = options;
    accountStream.on('registered', ({ account: { isGuest, userId } }) => {
      if (!isGuest) this.#outdated.add(userId);
    });
    accountStream.on('changed', ({ userId, changes: { deactivated, isGuest } }) => {
      if (deactivated !== undefined || isGuest !== undefined) this.#outdated.add(userId);
    });
    profiles.changed.subscribe(({ userId }) => this.#outdated.add(userId));
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
    await this.#catchUp();
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

  /** Writes a user as account and profile say, or takes the user out. */
  async list(userId: string): Promise<void> {
    this.#outdated.delete(userId);
    await this.#write([userId]);
  }

  /** Brings up to date what changed since: the jobs that do so come a moment later. */
  async #catchUp(): Promise<void> {
    const userIds = [...this.#outdated].slice(0, CHECKED_AT_ONCE);
    for (const userId of userIds) this.#outdated.delete(userId);
    await this.#write(userIds);
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
