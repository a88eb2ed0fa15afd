import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isRoomId } from '#src/protocol/identifiers/identifiers.ts';
import { isJsonObject } from '#src/protocol/json/json-value.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Database } from '#src/storage/database.ts';
import { joinedAmong, residentAmong } from '#src/storage/room-model/joined-rooms.ts';

/** Rooms of a join rule that are looked at. */
export const MAX_ALLOWED = 1_000;
/** The same where another server asks: each of them is read. */
export const MAX_ALLOWED_FOR_SERVERS = 50;

/** Decides joins of restricted rooms, which a membership of another room allows. Client-Server API, "Restricted rooms". */
export class RestrictedJoins {
  readonly #database: Database;
  readonly #rooms: RoomRegistry;

  constructor(options: { readonly database: Database; readonly rooms: RoomRegistry }) {
    this.#database = options.database;
    this.#rooms = options.rooms;
  }

  /** Whether the room's join rule is such that a join needs the authorisation of a member. */
  applies(room: Room): boolean {
    const rule = room.stateText('m.room.join_rules', 'join_rule');
    const { restrictedJoins, knockRestricted } = room.version.auth;
    return (rule === 'restricted' && restrictedJoins) || (rule === 'knock_restricted' && knockRestricted);
  }

  /**
   * Whether a user is in one of the rooms that the join rule names. Entries that cannot be read are passed over. The rooms that are not in
   * memory are asked for in one statement, however many they are.
   *
   * @param known what was found out about this user and rooms by then: a caller that looks at many rooms hands it from one to the next
   */
  isEntitled(room: Room, userId: string, known?: Map<string, boolean>): Promise<boolean> {
    return this.isInOneOf(allowedRooms(room), userId, known);
  }

  /** Whether a user is in one of these rooms. @param known see `isEntitled` */
  async isInOneOf(allowed: readonly string[], userId: string, known = new Map<string, boolean>()): Promise<boolean> {
    if (allowed.some((roomId) => known.get(roomId) === true)) return true;
    const unknown: string[] = [];
    for (const roomId of allowed) {
      if (known.has(roomId)) continue;
      const isIn = this.#rooms.peekById(roomId)?.isJoined(userId);
      if (isIn === undefined) unknown.push(roomId);
      else known.set(roomId, isIn);
      if (isIn === true) return true;
    }
    if (unknown.length === 0) return false;
    const joined = new Set(await joinedAmong(this.#database, userId, unknown));
    for (const roomId of unknown) known.set(roomId, joined.has(roomId));
    return joined.size > 0;
  }

  /** Whether a server has a member in one of the rooms that the join rule names, as far as they are known here. */
  async isServerEntitled(room: Room, serverName: string): Promise<boolean> {
    for (const roomId of allowedRooms(room).slice(0, MAX_ALLOWED_FOR_SERVERS))
      if ((await this.#rooms.byId(roomId))?.joinedServers().has(serverName) === true) return true;
    return false;
  }

  /**
   * Whether a user of another server is in one of the rooms that the join rule names, as far as this server can tell: of rooms that it is not
   * in it knows nothing. Server-Server API, "Restricted rooms".
   */
  async entitlement(room: Room, userId: string): Promise<'entitled' | 'not entitled' | 'unknown'> {
    const allowed = allowedRooms(room);
    const resident = new Set(await residentAmong(this.#database, allowed));
    const joined = await joinedAmong(this.#database, userId, [...resident]);
    if (joined.length > 0) return 'entitled';
    for (const roomId of allowed) {
      // Who is in a room that was just joined is not known yet.
      const isKnown = resident.has(roomId) && (await this.#rooms.byId(roomId))?.partial === undefined;
      if (!isKnown) return 'unknown';
    }
    return 'not entitled';
  }

  /** A member of this server who may invite: `join_authorised_via_users_server` names them. */
  authorisingUser(room: Room): string | undefined {
    const levels = room.powerLevels();
    let best: string | undefined;
    for (const member of room.members.values()) {
      if (!member.local || member.membership !== 'join' || levels.userLevel(member.userId) < levels.invite) continue;
      if (best === undefined || levels.userLevel(member.userId) > levels.userLevel(best)) best = member.userId;
    }
    return best;
  }

  /**
   * Who authorises the join of a user who is neither in the room nor invited; undefined when nobody needs to.
   *
   * @throws MatrixError M_FORBIDDEN when the user is in none of the rooms, M_UNABLE_TO_GRANT_JOIN when nobody here may invite
   */
  async authorise(room: Room, userId: string): Promise<string | undefined> {
    if (!this.applies(room)) return undefined;
    if (!(await this.isEntitled(room, userId))) {
      throw new MatrixError(
        'M_FORBIDDEN',
        'This room is for members of certain other rooms, and you are in none of them.',
      );
    }
    const user = this.authorisingUser(room);
    if (user === undefined) {
      throw new MatrixError(
        'M_UNABLE_TO_GRANT_JOIN',
        'Nobody of this server may invite to the room, so it cannot vouch for you.',
      );
    }
    return user;
  }
}

const allowedRooms = (room: Room): readonly string[] => {
  const allow = room.stateEvent('m.room.join_rules')?.content['allow'];
  if (!Array.isArray(allow)) return [];
  const ids = allow.flatMap((entry) =>
    isJsonObject(entry) && entry['type'] === 'm.room_membership' && isRoomId(entry['room_id']) ? entry['room_id'] : [],
  );
  return [...new Set(ids)].slice(0, MAX_ALLOWED);
};
