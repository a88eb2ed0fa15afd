import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isJsonObject } from '#src/protocol/json/json-value.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';

/** Joins that a membership of other rooms entitles to. Client-Server API, "Restricted rooms". */
export class RestrictedJoins {
  readonly #rooms: RoomRegistry;

  constructor(rooms: RoomRegistry) {
    this.#rooms = rooms;
  }

  /** Whether the room's join rule is such that a join needs somebody's word. */
  applies(room: Room): boolean {
    const rule = room.stateText('m.room.join_rules', 'join_rule');
    const { restrictedJoins, knockRestricted } = room.version.auth;
    return (rule === 'restricted' && restrictedJoins) || (rule === 'knock_restricted' && knockRestricted);
  }

  /** Whether a user is in one of the rooms that the join rule names. Entries that cannot be read are passed over. */
  async isEntitled(room: Room, userId: string): Promise<boolean> {
    const allow = room.stateEvent('m.room.join_rules')?.content['allow'];
    if (!Array.isArray(allow)) return false;
    for (const entry of allow) {
      if (!isJsonObject(entry) || entry['type'] !== 'm.room_membership') continue;
      const { room_id: roomId } = entry;
      if (typeof roomId === 'string' && (await this.#rooms.byId(roomId))?.isJoined(userId) === true) return true;
    }
    return false;
  }

  /** A member of this server who may invite: their name stands for the server's word. */
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
