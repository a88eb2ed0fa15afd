import { isCompliantUserId, parseMxcUri } from '#src/protocol/identifiers/identifiers.ts';
import { domainOf } from '#src/protocol/identifiers/server-name.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { foldText } from '#src/protocol/text/fold.ts';
import { directoryGrams, foldUserId } from '#src/protocol/text/name-grams.ts';
import { MEMBER } from '#src/protocol/events/event-types.ts';
import type { FollowedEvent } from '#src/services/events/stream/followed-event.ts';
import type { ProfileService } from '#src/services/user-data/profiles/profile-service.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { Member } from '#src/services/room-model/room/membership.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { isWorldReadable } from '#src/services/reading/access/room-access.ts';
import type { AccountStream } from '#src/services/accounts/stream/account-stream.ts';
import type { UserService } from '#src/services/accounts/users/user-service.ts';
import type { Database, Tx } from '#src/storage/database.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import {
  addDirectoryUsers,
  addNewDirectoryUser,
  type DirectoryUserRow,
  removeDirectoryUsers,
  setDirectoryRooms,
  upsertDirectoryUsers,
} from '#src/storage/reading/user-directory.ts';

const CHECKED_AT_ONCE = 500;

/** Members of a room who are listed when this server joins it. */
export const MAX_LISTED = 20_000;
/** Characters of a name. */
const MAX_NAME_LENGTH = 256;

/** The types of events that change the user directory. */
export const DIRECTORY_TYPES = [MEMBER, 'm.room.join_rules', 'm.room.history_visibility'];

export interface DirectoryEntriesOptions {
  readonly database: Database;
  readonly interner: Interner;
  readonly users: UserService;
  readonly accountStream: AccountStream;
  readonly profiles: ProfileService;
  readonly loader: EventLoader;
}

/**
 * Updates the user directory from accounts, profiles and rooms. The names of local users come from their profiles, not from single rooms.
 * Those of remote users come from public rooms.
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
    profiles.changed.subscribe(({ userId }) => {
      this.#outdated.add(userId);
    });
  }

  /** Follows events: which rooms are public, and which remote users are in them. */
  async take(events: readonly FollowedEvent[]): Promise<void> {
    const rooms = new Map<number, boolean>();
    const remote = new Map<string, DirectoryUserRow>();
    const unnamed = new Map<string, DirectoryUserRow>();
    const entered = new Set<Room>();
    for (const { room, event } of events) {
      const { stateKey } = event;
      if (stateKey === undefined) continue;
      if (event.type !== MEMBER) rooms.set(room.nid, isOpen(room));
      const member = event.type === MEMBER ? room.member(stateKey) : undefined;
      if (member?.local === true && isFirstHere(room, member)) entered.add(room);
      // "they SHOULD NOT forward such user IDs to clients when referenced outside the context of an event."
      if (member?.membership !== 'join' || member.local || !isCompliantUserId(stateKey)) continue;
      // The name of a remote user in a public room is public; in another room it is not.
      if (isOpen(room) && event.content['membership'] === 'join')
        remote.set(stateKey, rowOf(member.user, stateKey, { local: false, ...shownNames(event.content) }));
      else unnamed.set(stateKey, rowOf(member.user, stateKey, { local: false, displayName: null, avatarUrl: null }));
    }
    for (const userId of remote.keys()) unnamed.delete(userId);
    for (const room of entered) rooms.set(room.nid, isOpen(room));
    const of = (wanted: boolean): number[] => [...rooms].flatMap(([nid, is]) => (is === wanted ? nid : []));
    await setDirectoryRooms(this.#options.database, of(true), of(false));
    await addDirectoryUsers(this.#options.database, [...unnamed.values()]);
    await upsertDirectoryUsers(this.#options.database, [...remote.values()]);
    for (const room of entered) await this.#listMembers(room);
  }

  /** Lists the remote members of a room, which were not known when this server joined it. */
  listMembers(room: Room): Promise<void> {
    return this.#listMembers(room);
  }

  /** Lists the remote users who were in a room before this server joined: it has not seen their joins. */
  async #listMembers(room: Room): Promise<void> {
    const { database, loader } = this.#options;
    const members = [...room.members.values()].filter(
      ({ local, membership, userId }) => membership === 'join' && !local && isCompliantUserId(userId),
    );
    for (let from = 0; from < Math.min(members.length, MAX_LISTED); from += CHECKED_AT_ONCE) {
      const some = members.slice(from, from + CHECKED_AT_ONCE);
      const events = isOpen(room) ? await loader.load(some.map(({ event: nid }) => ({ room, nid }))) : undefined;
      const rows = some.map(({ event, user, userId }) =>
        rowOf(user, userId, { local: false, ...shownNames(events?.get(event)?.content ?? {}) }),
      );
      await (events === undefined ? addDirectoryUsers(database, rows) : upsertDirectoryUsers(database, rows));
    }
  }

  /** Writes the entry of a user from account and profile, or removes it. */
  async list(userId: string): Promise<void> {
    this.#outdated.delete(userId);
    await this.#write([userId]);
  }

  /** The same for several. */
  async listAll(userIds: readonly string[]): Promise<void> {
    for (const userId of userIds) this.#outdated.delete(userId);
    await this.#write(userIds);
  }

  /** Writes whether every user may find the members of a room, and lists the remote ones. */
  async listRoom(room: Room): Promise<void> {
    let isFound: boolean;
    do {
      isFound = isOpen(room);
      await setDirectoryRooms(this.#options.database, isFound ? [room.nid] : [], isFound ? [] : [room.nid]);
      // What follows the events may have written meanwhile that the room was opened or closed.
    } while (isOpen(room) !== isFound);
    await this.#listMembers(room);
  }

  /** Writes entries that changed, before the jobs that would do so. */
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

/** Whether a local user is the only one in a room of remote users: this server has just joined it. */
const isFirstHere = (room: Room, { membership, userId }: Member): boolean =>
  membership === 'join' && room.remoteServers().length > 0 && room.joinedServers().get(domainOf(userId) ?? '') === 1;

/** Whether every user may find the members of a room. */
const isOpen = (room: Room): boolean =>
  room.stateText('m.room.join_rules', 'join_rule') === 'public' || isWorldReadable(room);

/** Name and picture of a member event, as JSON. Names are bounded: the event may hold anything. */
const shownNames = (content: JsonObject): Pick<DirectoryUserRow, 'displayName' | 'avatarUrl'> => {
  const { avatar_url: avatar, displayname: name } = content;
  const isName = typeof name === 'string' && name !== '' && !name.includes('\0');
  return {
    displayName: isName ? JSON.stringify(name.slice(0, MAX_NAME_LENGTH).toWellFormed()) : null,
    avatarUrl: parseMxcUri(avatar) === undefined ? null : JSON.stringify(avatar),
  };
};

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
