import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isRoomId } from '#src/protocol/identifiers/identifiers.ts';
import { isJsonObject } from '#src/protocol/json/json-value.ts';
import type { AliasService } from '#src/services/rooms/aliases/alias-service.ts';
import { type PublicRoom, publicRoomOf } from './public-rooms.ts';
import type { RoomOpenness } from '#src/services/rooms/membership/room-openness.ts';
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
  readonly #openness: RoomOpenness;

  constructor(options: {
    readonly rooms: RoomRegistry;
    readonly aliases: AliasService;
    readonly openness: RoomOpenness;
  }) {
    this.#rooms = options.rooms;
    this.#aliases = options.aliases;
    this.#openness = options.openness;
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
    if (room === undefined || !(await this.#openness.isOpenTo(room, userId))) {
      throw new MatrixError('M_NOT_FOUND', 'There is no such room, or it is not open to you.');
    }
    const summary = roomSummaryOf(room);
    return userId === undefined ? summary : { ...summary, membership: room.member(userId)?.membership ?? 'leave' };
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
