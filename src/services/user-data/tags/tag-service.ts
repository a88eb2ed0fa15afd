import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { fitsBytes } from '#src/protocol/identifiers/byte-length.ts';
import { isJsonObject, type JsonObject } from '#src/protocol/json/json-value.ts';
import type { AccountDataService } from '#src/services/user-data/account-data/account-data-service.ts';

const TYPE = 'm.tag';

/** Clients may also write tags as account data, and anything into them: what is no tag is left out. */
const tagsIn = (content: JsonObject | undefined): JsonObject => {
  const tags = content?.['tags'];
  if (!isJsonObject(tags)) return {};
  return Object.fromEntries(
    Object.entries(tags).flatMap(([tag, about]) => {
      if (!isJsonObject(about)) return [];
      const { order, ...rest } = about;
      return [[tag, order === undefined || typeof order === 'number' ? about : rest]];
    }),
  );
};

/** Tags that users give their rooms, kept as account data of the room. Client-Server API, "Room Tagging". */
export class TagService {
  readonly #accountData: AccountDataService;

  constructor(accountData: AccountDataService) {
    this.#accountData = accountData;
  }

  /** The tags of a room with what the user said of each. */
  async of(userId: string, roomNid: number): Promise<JsonObject> {
    const content = await this.#accountData.get(userId, roomNid, TYPE);
    return content === undefined ? {} : tagsIn(JSON.parse(content) as JsonObject);
  }

  /**
   * Adds a tag, or changes what is said of it.
   *
   * @throws MatrixError M_INVALID_PARAM when the name is too long
   */
  async set(userId: string, roomNid: number, tag: string, about: JsonObject): Promise<void> {
    if (!fitsBytes(tag))
      throw new MatrixError('M_INVALID_PARAM', 'The name of a tag must not be longer than 255 bytes.');
    await this.#accountData.update(userId, roomNid, TYPE, (content) => ({
      ...content,
      tags: { ...tagsIn(content), [tag]: about },
    }));
  }

  /** Removes a tag; one that is not there is removed already. */
  async remove(userId: string, roomNid: number, tag: string): Promise<void> {
    await this.#accountData.update(userId, roomNid, TYPE, (content) => {
      const { [tag]: removed, ...tags } = tagsIn(content);
      return removed === undefined ? undefined : { ...content, tags };
    });
  }

  /** Gives the successor of an upgraded room the tags of the old one, unless the user has tagged it already. */
  async copy(userId: string, fromRoom: number, toRoom: number): Promise<void> {
    const tags = await this.of(userId, fromRoom);
    if (Object.keys(tags).length === 0) return;
    await this.#accountData.update(userId, toRoom, TYPE, (content) =>
      Object.keys(tagsIn(content)).length > 0 ? undefined : { ...content, tags },
    );
  }
}
