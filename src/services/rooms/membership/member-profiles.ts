import type { ShadowBanned } from '#src/services/accounts/moderation/shadow-bans.ts';
import type { Logger } from '#src/kernel/logger.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { EventService } from '#src/services/events/stream/event-service.ts';
import { membershipCode } from '#src/services/room-model/room/membership.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Database } from '#src/storage/database.ts';
import { roomsOfUser } from '#src/storage/room-model/member-rows.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import type { Profile, ProfileService } from '#src/services/user-data/profiles/profile-service.ts';

/** What belongs to how the user came into the room, and means nothing in an event that changes a name. */
const OF_THE_JOIN = [
  'join_authorised_via_users_server',
  'third_party_invite',
  'is_direct',
  'reason',
  'displayname',
  'avatar_url',
];

/** The content of a member event with another profile. */
const memberContentWith = (content: JsonObject, profile: Pick<Profile, 'displayname' | 'avatarUrl'>): JsonObject => {
  const { displayname, avatarUrl } = profile;
  return {
    ...Object.fromEntries(Object.entries(content).filter(([member]) => !OF_THE_JOIN.includes(member))),
    ...(displayname === undefined ? {} : { displayname }),
    ...(avatarUrl === undefined ? {} : { avatar_url: avatarUrl }),
  };
};

export interface MemberProfilesOptions {
  readonly database: Database;
  readonly interner: Interner;
  readonly rooms: RoomRegistry;
  readonly loader: EventLoader;
  readonly events: EventService;
  readonly profiles: ProfileService;
  /** Shadow-banned users: their new names stay out of rooms. */
  readonly shadowBans: ShadowBanned;
  readonly logger: Logger;
}

/**
 * Carries names and avatars into the rooms where their users are joined, behind the request that changed them. Client-Server API,
 * "Events on Change of Profile Information".
 */
export class MemberProfiles {
  readonly #options: MemberProfilesOptions;

  constructor(options: MemberProfilesOptions) {
    this.#options = options;
  }

  /**
   * Writes the user's current profile into each of their rooms; rooms that have it already are only looked at.
   *
   * @returns false when it was broken off because of the signal
   */
  async carry(userId: string, signal: AbortSignal): Promise<boolean> {
    const { database, interner, rooms, shadowBans } = this.#options;
    if (shadowBans.has(userId)) return true;
    const records = await roomsOfUser(database, await interner.userNid(userId));
    for (const { room: nid, membership } of records) {
      if (membership !== membershipCode('join')) continue;
      if (signal.aborted) return false;
      const room = await rooms.byNid(nid);
      if (room !== undefined) await this.#update(room, userId);
    }
    return true;
  }

  async #update(room: Room, userId: string): Promise<void> {
    const member = room.member(userId);
    if (member?.membership !== 'join') return;
    const { events, loader, logger, profiles } = this.#options;
    const event = await loader.one(room, member.event);
    const profile = await profiles.profileOf(userId);
    const content = event?.content ?? {};
    if (
      event !== undefined &&
      content['displayname'] === profile.displayname &&
      content['avatar_url'] === profile.avatarUrl
    )
      return;
    try {
      await events.send(room, {
        type: 'm.room.member',
        sender: userId,
        stateKey: userId,
        content: { ...memberContentWith(content, profile), membership: 'join' },
      });
    } catch (err) {
      // A room that refuses it does not stop the others.
      if (!(err instanceof MatrixError) || err.status >= 500 || err.status === 429) throw err;
      logger.warn('the member event of a changed profile could not be sent', {
        user_id: userId,
        room_id: room.roomId,
        err,
      });
    }
  }
}
