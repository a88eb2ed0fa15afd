import type { DirectoryEntries } from '#src/services/reading/user-directory/directory-entries.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import {
  accountsAfter,
  roomsAfter,
  sweepDirectoryRooms,
  sweepDirectoryUsers,
} from '#src/storage/admin/background-updates.ts';
import type { Database } from '#src/storage/database.ts';
import { type BackgroundUpdate, stepOver, type UpdateStep } from './update.ts';

const ROOMS_AT_ONCE = 10;
const USERS_AT_ONCE = 100;
const ENTRIES_AT_ONCE = 1_000;

/** What a step returns: where it stands in one of the rounds, which come in the order of their names here. */
const ROUNDS = ['rooms', 'users', 'entries'] as const;
type Round = (typeof ROUNDS)[number];

/** Rebuilds the user directory: from rooms, from accounts; and removes users who are in neither any more. It can be searched meanwhile. */
export const userDirectoryUpdate = (options: {
  readonly database: Database;
  readonly rooms: Pick<RoomRegistry, 'load'>;
  readonly entries: Pick<DirectoryEntries, 'listAll' | 'listRoom'>;
}): BackgroundUpdate => {
  const { database, entries, rooms } = options;
  const rounds: Readonly<Record<Round, (after: string) => Promise<UpdateStep>>> = {
    async rooms(after) {
      const nids = await roomsAfter(database, Number(after), ROOMS_AT_ONCE);
      for (const room of (await rooms.load(nids)).values()) if (room.isHere) await entries.listRoom(room);
      return stepOver(nids, ROOMS_AT_ONCE);
    },
    async users(after) {
      const userIds = await accountsAfter(database, after, USERS_AT_ONCE);
      await entries.listAll(userIds);
      return stepOver(userIds, USERS_AT_ONCE);
    },
    async entries(after) {
      const swept = await sweepDirectoryUsers(database, Number(after), ENTRIES_AT_ONCE);
      if (swept.after === null) await sweepDirectoryRooms(database);
      return { items: swept.items, after: swept.after === null ? undefined : String(swept.after) };
    },
  };
  return {
    name: 'regenerate_directory',
    async step(after) {
      const at = ROUNDS.findIndex((name) => after.startsWith(`${name} `));
      const round = ROUNDS[Math.max(at, 0)]!;
      const made = await rounds[round](at < 0 ? '' : after.slice(round.length + 1));
      if (made.after !== undefined) return { items: made.items, after: `${round} ${made.after}` };
      const next = ROUNDS[ROUNDS.indexOf(round) + 1];
      return { items: made.items, after: next === undefined ? undefined : `${next} ` };
    },
  };
};
