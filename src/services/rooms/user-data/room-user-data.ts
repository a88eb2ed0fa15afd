import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isRoomId } from '#src/protocol/identifiers/identifiers.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { AccountDataService } from '#src/services/user-data/account-data/account-data-service.ts';
import type { TagService } from '#src/services/user-data/tags/tag-service.ts';

export interface RoomUserDataOptions {
  readonly rooms: RoomRegistry;
  readonly accountData: AccountDataService;
  readonly tags: TagService;
}

/**
 * Account data and tags of users for rooms: those that they are in, were in, or are invited to. For others the answer does
 * not show whether they exist. All of it throws M_INVALID_PARAM for what is no room id, and M_FORBIDDEN for a room that is not theirs.
 */
export class RoomUserData {
  readonly #options: RoomUserDataOptions;

  constructor(options: RoomUserDataOptions) {
    this.#options = options;
  }

  /** A piece of account data, as JSON text. @throws MatrixError M_NOT_FOUND */
  async accountData(userId: string, roomId: string, type: string): Promise<string> {
    return this.#options.accountData.existing(userId, await this.#own(userId, roomId), type);
  }

  /** @throws MatrixError what `AccountDataService.setByClient` throws */
  async setAccountData(userId: string, roomId: string, type: string, content: JsonObject): Promise<void> {
    await this.#options.accountData.setByClient(userId, await this.#own(userId, roomId), type, content);
  }

  async tags(userId: string, roomId: string): Promise<JsonObject> {
    return this.#options.tags.of(userId, await this.#own(userId, roomId));
  }

  /** @throws MatrixError what `TagService.set` throws */
  async setTag(userId: string, roomId: string, tag: string, about: JsonObject): Promise<void> {
    await this.#options.tags.set(userId, await this.#own(userId, roomId), tag, about);
  }

  async removeTag(userId: string, roomId: string, tag: string): Promise<void> {
    await this.#options.tags.remove(userId, await this.#own(userId, roomId), tag);
  }

  /** The number under which what a user keeps of a room is stored. */
  async #own(userId: string, roomId: string): Promise<number> {
    if (!isRoomId(roomId)) throw new MatrixError('M_INVALID_PARAM', `${roomId} is not a valid room ID.`);
    const room = await this.#options.rooms.byId(roomId);
    if (room?.member(userId) === undefined)
      throw new MatrixError('M_FORBIDDEN', `You are not in the room ${roomId}, and were never in it.`);
    return room.nid;
  }
}
