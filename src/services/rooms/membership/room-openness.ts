import { domainOf } from '#src/protocol/identifiers/server-name.ts';
import type { RemoteRoomSummary } from '#src/remote/federation/room-summary.ts';
import { isWorldReadable } from '#src/services/reading/access/room-access.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { isInOrInvited } from '#src/services/room-model/room/membership.ts';
import type { RestrictedJoins } from './restricted-joins.ts';

const hasInvitedUser = (room: Room, serverName: string): boolean => {
  for (const { userId, membership } of room.members.values())
    if (membership === 'invite' && domainOf(userId) === serverName) return true;
  return false;
};

/** Decides which users may know of a room that they are not in. All others get the answer for a room that does not exist. */
export class RoomOpenness {
  readonly #restricted: RestrictedJoins;

  constructor(restricted: RestrictedJoins) {
    this.#restricted = restricted;
  }

  /** Whether a user has, or had, to do with a room, finds it in the directory, or may join or read it. @param userId undefined for those without an account */
  async mayKnowOf(room: Room, userId: string | undefined): Promise<boolean> {
    const wasThere = userId !== undefined && room.headMembership(userId) !== undefined;
    return wasThere || room.isPublic || this.isOpenTo(room, userId);
  }

  /**
   * Whether a user is in a room, may join it or knock at it, or may read it at least.
   * Client-Server API, `GET /rooms/{roomId}/hierarchy`.
   *
   * @param known see `RestrictedJoins.isEntitled`
   */
  async isOpenTo(room: Room, userId: string | undefined, known?: Map<string, boolean>): Promise<boolean> {
    if (isWorldReadable(room)) return true;
    const membership = userId === undefined ? undefined : room.member(userId)?.membership;
    if (isInOrInvited(membership)) return true;
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
        return (
          userId !== undefined && this.#restricted.applies(room) && this.#restricted.isEntitled(room, userId, known)
        );
      default:
        return false;
    }
  }

  /**
   * The same for a room of which another server tells, and this one knows at most who was invited.
   *
   * @param room what is known of it here
   */
  async isSummaryOpenTo(
    summary: RemoteRoomSummary,
    room: Room | undefined,
    userId: string | undefined,
    known?: Map<string, boolean>,
  ): Promise<boolean> {
    const membership = userId === undefined ? undefined : room?.member(userId)?.membership;
    if (membership === 'ban') return false;
    if (isInOrInvited(membership) || summary.world_readable) return true;
    switch (summary.join_rule) {
      case 'public':
      case 'knock':
      case 'knock_restricted':
        return true;
      case 'restricted':
        return userId !== undefined && this.#restricted.isInOneOf(summary.allowed_room_ids ?? [], userId, known);
      default:
        return false;
    }
  }

  /**
   * Whether some user of a server is in a room, may join it or knock at it, or may read it at least.
   * Server-Server API, `GET /hierarchy/{roomId}`.
   */
  async isOpenToServer(room: Room, serverName: string): Promise<boolean> {
    if (!room.allowsServer(serverName)) return false;
    if (isWorldReadable(room) || room.hasServer(serverName)) return true;
    const { knocking, knockRestricted } = room.version.auth;
    const rule = room.stateText('m.room.join_rules', 'join_rule');
    if (rule === 'public' || (rule === 'knock' && knocking) || (rule === 'knock_restricted' && knockRestricted))
      return true;
    if (this.#restricted.applies(room) && (await this.#restricted.isServerEntitled(room, serverName))) return true;
    return room.invitedCount > 0 && hasInvitedUser(room, serverName);
  }
}
