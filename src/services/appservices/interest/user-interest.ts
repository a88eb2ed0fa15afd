import type { ApplicationService } from '#src/services/accounts/appservices/application-service.ts';
import type { Appservices } from '#src/services/accounts/appservices/appservices.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import { newestRoomsOfUsers } from '#src/storage/appservices/extras.ts';
import type { Database } from '#src/storage/database.ts';
import type { Interest } from './interest.ts';

/** Rooms of a user that are looked at, the newest first. */
const MAX_ROOMS = 500;

/** Finds the services that are interested in users: those with them in a namespace, or interested in a room of theirs. */
export class UserInterest {
  readonly #database: Database;
  readonly #appservices: Pick<Appservices, 'interestedInUser'>;
  readonly #rooms: Pick<RoomRegistry, 'parts'>;
  readonly #interest: Pick<Interest, 'now'>;

  constructor(options: {
    readonly database: Database;
    readonly appservices: Pick<Appservices, 'interestedInUser'>;
    readonly rooms: Pick<RoomRegistry, 'parts'>;
    readonly interest: Pick<Interest, 'now'>;
  }) {
    this.#database = options.database;
    this.#appservices = options.appservices;
    this.#rooms = options.rooms;
    this.#interest = options.interest;
  }

  async of(userIds: readonly string[]): Promise<ReadonlyMap<string, ReadonlySet<ApplicationService>>> {
    const places = userIds.length === 0 ? [] : await newestRoomsOfUsers(this.#database, userIds, MAX_ROOMS);
    const usersIn = Map.groupBy(places, ({ room }) => room);
    const found = new Map(userIds.map((userId) => [userId, new Set(this.#appservices.interestedInUser(userId))]));
    for await (const rooms of this.#rooms.parts([...usersIn.keys()])) {
      for (const [{ nid }, services] of await this.#interest.now(rooms)) {
        for (const { userId } of usersIn.get(nid) ?? [])
          for (const service of services) found.get(userId)?.add(service);
      }
    }
    return found;
  }
}
