import { isCompliantUserId } from '#src/protocol/identifiers/identifiers.ts';
import { foldText } from '#src/protocol/text/fold.ts';
import { directoryGrams, foldUserId } from '#src/protocol/text/name-grams.ts';
import type { FollowedEvent } from '#src/services/events/stream/followed-event.ts';
import type { ProfileService } from '#src/services/user-data/profiles/profile-service.ts';
import { isWorldReadable } from '#src/services/reading/access/room-access.ts';
import type { AccountStream } from '#src/services/accounts/stream/account-stream.ts';
import type { UserService } from '#src/services/accounts/users/user-service.ts';
import type { Database, Tx } from '#src/storage/database.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import {
  addNewDirectoryUser,
  type DirectoryUserRow,
  removeDirectoryUsers,
  setDirectoryRooms,
  upsertDirectoryUsers,
} from '#src/storage/reading/user-directory.ts';

const CHECKED_AT_ONCE = 500;

const MEMBER = 'm.room.member';

/** The types of events that change whom the directory shows. */
export const DIRECTORY_TYPES = [MEMBER, 'm.room.join_rules', 'm.room.history_visibility'];

export interface DirectoryEntriesOptions {
  readonly database: Database;
  readonly interner: Interner;
  readonly users: UserService;
  readonly accountStream: AccountStream;
  readonly profiles: ProfileService;
}

/**
 * Keeps the entries of the user directory what accounts, profiles and rooms say. Names come from profiles only: what users call
 * themselves in one room is that room's business.
 */
export class DirectoryEntries {
  readonly #options: DirectoryEntriesOptions;
  /** Users whose account or profile changed since they were written: a job will write them, unless a search does so before. */
  readonly #outdated = new Set<string>();

  constructor(options: DirectoryEntriesOptions) {
    this.#options = options;
    const { accountStream, profiles } = options;
    accountStream.on('changed', ({ userId, changes: { deactivated, isGuest } }) => {
      if (deactivated !== undefined || isGuest !== undefined) this.#outdated.add(userId);
    });
    profiles.changed.subscribe(({ userId }) => this.#outdated.add(userId));
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
  async catchUp(): Promise<void> {
    if (this.#outdated.size === 0) return;
    const userIds = [...this.#outdated].slice(0, CHECKED_AT_ONCE);
    for (const userId of userIds) this.#outdated.delete(userId);
    await this.#write(userIds);
  }

  async #write(userIds: readonly string[]): Promise<void> {
    if (userIds.length === 0) return;
    const { database, interner, profiles, users } = this.#options;
    const known = await interner.ensure({ users: userIds });
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
      rows.push(rowOf(known.user(userId), userId, names));
    }
    await upsertDirectoryUsers(database, rows);
    if (gone.length > 0) await removeDirectoryUsers(database, gone);
  }
}

/**
 * Lists a user in the transaction that makes the account, which costs less than a job does.
 *
 * @returns false when a job has to do so, since the user was named first by something that is under way
 */
export const listNewUser = (tx: Tx, userId: string): Promise<boolean> => {
  const foldedId = foldUserId(userId);
  return addNewDirectoryUser(tx, { userId, foldedId, grams: directoryGrams(foldedId, '') });
};

const rowOf = (
  user: number,
  userId: string,
  names: Pick<DirectoryUserRow, 'local' | 'displayName' | 'avatarUrl'>,
): DirectoryUserRow => {
  const foldedId = foldUserId(userId);
  const foldedName = foldText(directoryText(names.displayName) ?? '');
  return { user, userId, ...names, foldedId, foldedName, grams: directoryGrams(foldedId, foldedName) };
};

/** A text of a profile as entries keep it, as JSON. */
export const directoryText = (json: string | null): string | undefined => {
  const value: unknown = json === null ? undefined : JSON.parse(json);
  return typeof value === 'string' ? value : undefined;
};
