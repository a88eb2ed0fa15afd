import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isRoomId } from '#src/protocol/identifiers/identifiers.ts';
import { domainOf } from '#src/protocol/identifiers/server-name.ts';
import { isJsonObject } from '#src/protocol/json/json-value.ts';
import type { AliasService } from '#src/services/rooms/aliases/alias-service.ts';
import type { RemoteRooms } from './remote-rooms.ts';
import type { PublicRoom } from '#src/protocol/content/public-room.ts';
import { publicRoomOf, shortText } from './public-rooms.ts';
import type { RoomOpenness } from '#src/services/rooms/membership/room-openness.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';

/** A room as those see it who may want to join; members are named as on the wire. */
export interface RoomSummary extends PublicRoom {
  /** Missing where another server does not say it. */
  readonly room_version?: string;
  readonly encryption?: string;
  /** The rooms whose members may join. */
  readonly allowed_room_ids?: readonly string[];
  readonly membership?: string;
}

export interface RoomSummariesOptions {
  readonly rooms: RoomRegistry;
  readonly aliases: AliasService;
  readonly openness: RoomOpenness;
  readonly remote: RemoteRooms;
  readonly serverName: string;
}

/** Describes rooms to those who may join or read them. Client-Server API, "Room previews", `GET /room_summary`. */
export class RoomSummaries {
  readonly #options: RoomSummariesOptions;

  constructor(options: RoomSummariesOptions) {
    this.#options = options;
  }

  /**
   * A room by id or alias.
   *
   * @param userId undefined for those without an account
   * @param via servers to ask about a room that this one is not in
   * @throws MatrixError M_NOT_FOUND when it is not there, or not for this user; M_INVALID_PARAM; M_FORBIDDEN, M_CONNECTION_FAILED,
   *   M_CONNECTION_TIMEOUT when the server of an alias cannot be asked
   */
  async summary(roomIdOrAlias: string, userId: string | undefined, via: readonly string[] = []): Promise<RoomSummary> {
    const { rooms, serverName } = this.#options;
    const { roomId, servers } = await this.#resolve(roomIdOrAlias);
    const room = await rooms.byId(roomId);
    const summary =
      room?.joinedServers().has(serverName) === true
        ? await this.#here(room, userId)
        : ((await this.#askServers(roomId, room, [...via, ...servers], userId)) ??
          (room === undefined ? undefined : await this.#here(room, userId)));
    if (summary === undefined) throw new MatrixError('M_NOT_FOUND', 'There is no such room, or it is not open to you.');
    return userId === undefined ? summary : { ...summary, membership: room?.member(userId)?.membership ?? 'leave' };
  }

  async #resolve(roomIdOrAlias: string): Promise<{ readonly roomId: string; readonly servers: readonly string[] }> {
    if (roomIdOrAlias.startsWith('#')) return this.#options.aliases.resolve(roomIdOrAlias);
    if (!isRoomId(roomIdOrAlias))
      throw new MatrixError('M_INVALID_PARAM', 'This is neither a room id nor a room alias.');
    return { roomId: roomIdOrAlias, servers: [domainOf(roomIdOrAlias) ?? ''] };
  }

  async #here(room: Room, userId: string | undefined): Promise<RoomSummary | undefined> {
    return (await this.#options.openness.isOpenTo(room, userId)) ? roomSummaryOf(room) : undefined;
  }

  /** A room as another server tells of it; undefined when none does, or it is not for this user. */
  async #askServers(
    roomId: string,
    room: Room | undefined,
    servers: readonly string[],
    userId: string | undefined,
  ): Promise<RoomSummary | undefined> {
    const { openness, remote } = this.#options;
    const remoteSummary = await remote.find(roomId, servers, false);
    if (remoteSummary === undefined || !(await openness.isSummaryOpenTo(remoteSummary.room, room, userId)))
      return undefined;
    const { children_state: _children, ...summary } = remoteSummary.room;
    return summary;
  }
}

/** A room as everybody is told of it. */
export const roomSummaryOf = (room: Room): RoomSummary => {
  const encryption = shortText(room.stateText('m.room.encryption', 'algorithm'));
  const allowed = allowedRoomIds(room);
  return {
    ...publicRoomOf(room),
    room_version: room.version.id,
    ...(encryption === undefined ? {} : { encryption }),
    ...(allowed.length === 0 ? {} : { allowed_room_ids: allowed }),
  };
};

/** Rooms that a summary names as those whose members may join. */
export const MAX_ALLOWED = 500;

const allowedRoomIds = (room: Room): readonly string[] => {
  const content = room.stateEvent('m.room.join_rules')?.content;
  const rule = content?.['join_rule'];
  const allow = rule === 'restricted' || rule === 'knock_restricted' ? content?.['allow'] : undefined;
  if (!Array.isArray(allow)) return [];
  return allow.slice(0, MAX_ALLOWED).flatMap((entry) => {
    if (!isJsonObject(entry) || entry['type'] !== 'm.room_membership') return [];
    return isRoomId(entry['room_id']) ? [entry['room_id']] : [];
  });
};
