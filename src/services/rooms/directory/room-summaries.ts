import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isRoomId } from '#src/protocol/identifiers/identifiers.ts';
import { isJsonObject } from '#src/protocol/json/json-value.ts';
import type { AliasService } from '#src/services/rooms/aliases/alias-service.ts';
import { type PublicRoom, publicRoomOf } from './public-rooms.ts';
import { RestrictedJoins } from '#src/services/rooms/membership/restricted-joins.ts';
import { isWorldReadable } from '#src/services/reading/access/room-access.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';

/** A room as those see it who may want to join; members are named as on the wire. */
export interface RoomSummary extends PublicRoom {
  readonly room_version: string;
  readonly encryption?: string;
  /** The rooms whose members may join. */
  readonly allowed_room_ids?: readonly string[];
  readonly membership?: string;
}

/** Describes rooms to those who may join or read them. Client-Server API, "Room previews", `GET /room_summary`. */
export class RoomSummaries {
  readonly #rooms: RoomRegistry;
  readonly #aliases: AliasService;
  readonly #restricted: RestrictedJoins;

  constructor(options: { readonly rooms: RoomRegistry; readonly aliases: AliasService }) {
    this.#rooms = options.rooms;
    this.#aliases = options.aliases;
    this.#restricted = new RestrictedJoins(options.rooms);
  }

  /**
   * A room by id or alias.
   *
   * @param userId undefined for those without an account
   * @throws MatrixError M_NOT_FOUND when it is not there, or not for this user; M_INVALID_PARAM
   */
  async summary(roomIdOrAlias: string, userId: string | undefined): Promise<RoomSummary> {
    const roomId = roomIdOrAlias.startsWith('#') ? (await this.#aliases.resolve(roomIdOrAlias)).roomId : roomIdOrAlias;
    if (!roomId.startsWith('!'))
      throw new MatrixError('M_INVALID_PARAM', 'This is neither a room id nor a room alias.');
    const room = await this.#rooms.byId(roomId);
    if (room === undefined || !(await this.isOpenTo(room, userId))) {
      throw new MatrixError('M_NOT_FOUND', 'There is no such room, or it is not open to you.');
    }
    const summary = roomSummaryOf(room);
    return userId === undefined ? summary : { ...summary, membership: room.member(userId)?.membership ?? 'leave' };
  }

  /**
   * Whether somebody is in a room, may join it or knock at it, or may read it at least.
   * Client-Server API, `GET /rooms/{roomId}/hierarchy`.
   */
  async isOpenTo(room: Room, userId: string | undefined): Promise<boolean> {
    if (isWorldReadable(room)) return true;
    const membership = userId === undefined ? undefined : room.member(userId)?.membership;
    if (membership === 'join' || membership === 'invite') return true;
    if (membership === 'ban') return false;
    const { knocking, knockRestricted } = room.version.auth;
    switch (room.stateText('m.room.join_rules', 'join_rule')) {
      case 'public':
        return true;
      case 'knock':
        return knocking;
      case 'knock_restricted':
        return knockRestricted;
      case 'restricted':
        return userId !== undefined && this.#restricted.applies(room) && this.#restricted.isEntitled(room, userId);
      default:
        return false;
    }
  }
}

/** A room as everybody is told of it. */
export const roomSummaryOf = (room: Room): RoomSummary => {
  const encryption = room.stateText('m.room.encryption', 'algorithm');
  const allowed = allowedRoomIds(room);
  return {
    ...publicRoomOf(room),
    room_version: room.version.id,
    ...(encryption === undefined ? {} : { encryption }),
    ...(allowed.length === 0 ? {} : { allowed_room_ids: allowed }),
  };
};

const allowedRoomIds = (room: Room): readonly string[] => {
  const content = room.stateEvent('m.room.join_rules')?.content;
  const rule = content?.['join_rule'];
  const allow = rule === 'restricted' || rule === 'knock_restricted' ? content?.['allow'] : undefined;
  if (!Array.isArray(allow)) return [];
  return allow.flatMap((entry) => {
    if (!isJsonObject(entry) || entry['type'] !== 'm.room_membership') return [];
    return isRoomId(entry['room_id']) ? [entry['room_id']] : [];
  });
};
