import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Database } from '#src/storage/database.ts';
import { roomsOfUsers } from '#src/storage/federation/sharing.ts';

const NONE: ReadonlySet<string> = new Set();

/** Finds the servers that share rooms with local users. */
export class SharingServers {
  readonly #database: Database;
  readonly #rooms: RoomRegistry;

  constructor(database: Database, rooms: RoomRegistry) {
    this.#database = database;
    this.#rooms = rooms;
  }

  /**
   * Of the servers in a room that a user joined, those that share no room of a lower number with the user, as far as the rooms in memory
   * tell: of rooms that are joined at once, one brings a server. When the user has left again, those that share any other room.
   */
  async broughtBy(roomNid: number, userId: string): Promise<readonly string[]> {
    const servers = (await this.#rooms.byNid(roomNid))?.remoteServers() ?? [];
    const places = await roomsOfUsers(this.#database, [userId]);
    if (!places.some(({ room }) => room === roomNid)) {
      const sharing = (await this.of([userId]))(userId);
      return servers.filter((server) => sharing.has(server));
    }
    const others = new Set(
      places.flatMap(({ room }) => (room < roomNid ? (this.#rooms.peek(room)?.remoteServers() ?? []) : [])),
    );
    return servers.filter((server) => !others.has(server));
  }

  /** Whether all members of a room are known. */
  async knowsMembersOf(roomNid: number): Promise<boolean> {
    return (await this.#rooms.byNid(roomNid))?.partial === undefined;
  }

  /** The servers that users of this one share a room with, by user; one statement, and others for rooms that are not in memory. */
  async of(userIds: readonly string[]): Promise<(userId: string) => ReadonlySet<string>> {
    if (userIds.length === 0) return () => NONE;
    const places = await roomsOfUsers(this.#database, userIds);
    const usersIn = Map.groupBy(places, ({ room }) => room);
    const servers = new Map<string, Set<string>>();
    const visiting = this.#rooms.visit(
      Array.from(usersIn.keys(), (nid) => ({ nid })),
      (room) => {
        const remote = room.remoteServers();
        for (const { userId } of remote.length === 0 ? [] : (usersIn.get(room.nid) ?? [])) {
          let its = servers.get(userId);
          if (its === undefined) servers.set(userId, (its = new Set()));
          for (const server of remote) its.add(server);
        }
      },
    );
    if (visiting !== undefined) await visiting;
    return (userId) => servers.get(userId) ?? NONE;
  }
}
