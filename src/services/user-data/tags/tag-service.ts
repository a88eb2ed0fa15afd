import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { AccountDataService } from '#src/services/user-data/account-data/account-data-service.ts';

/** Tags of rooms: shown as account data of the room, stored one by one. Client-Server API, "Room Tagging". */
export class TagService {
  readonly #accountData: AccountDataService;

  constructor(accountData: AccountDataService) {
    this.#accountData = accountData;
  }

  /** The tags of a room with what the user said of each. */
  async of(userId: string, roomNid: number): Promise<JsonObject> {
    const tags = await this.#accountData.tags(userId, roomNid);
    return Object.fromEntries(
      Array.from(tags, ([tag, text]) => {
        const { order, ...rest } = JSON.parse(text) as JsonObject;
        // Clients may also write tags as account data, and then anything into them.
        return [tag, typeof order === 'number' ? { order, ...rest } : rest];
      }),
    );
  }

  /**
   * Adds a tag, or changes what is said of it.
   *
   * @throws MatrixError M_INVALID_PARAM when the name is too long; M_TOO_LARGE when it is more than is kept
   */
  set(userId: string, roomNid: number, tag: string, about: JsonObject): Promise<void> {
    return this.#accountData.updateTags(userId, roomNid, (tags) => new Map(tags).set(tag, JSON.stringify(about)));
  }

  /** Removes a tag; one that is not there is removed already. */
  remove(userId: string, roomNid: number, tag: string): Promise<void> {
    return this.#accountData.updateTags(userId, roomNid, (tags) => {
      const rest = new Map(tags);
      rest.delete(tag);
      return rest;
    });
  }

  /** Gives the successor of an upgraded room the tags of the old one, unless the user has tagged it already. */
  async copy(userId: string, fromRoom: number, toRoom: number): Promise<void> {
    const copied = await this.#accountData.tags(userId, fromRoom);
    if (copied.size > 0) await this.#accountData.updateTags(userId, toRoom, (tags) => (tags.size > 0 ? tags : copied));
  }
}
