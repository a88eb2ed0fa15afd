import type { Logger } from '#src/kernel/logger.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { EventService } from '#src/services/events/stream/event-service.ts';
import { membershipCode } from '#src/services/room-model/room/membership.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Database } from '#src/storage/database.ts';
import { roomsOfUser } from '#src/storage/room-model/event-reads.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import type { Profile, ProfileService } from '#src/services/user-data/profiles/profile-service.ts';

/** What belongs to how somebody came into the room, and means nothing in an event that changes a name. */
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
  readonly logger: Logger;
}

/**
 * Carries changes of name and avatar into the rooms where the user is joined, behind the request that made them. Changes that
 * come while one is being carried around are carried together. Client-Server API, "Events on Change of Profile Information".
 */
export class MemberProfiles {
  readonly #options: MemberProfilesOptions;
  readonly #dirty = new Set<string>();
  readonly #running = new Map<string, Promise<void>>();

  constructor(options: MemberProfilesOptions) {
    this.#options = options;
    options.profiles.changed.subscribe(({ userId }) => {
      this.#dirty.add(userId);
      if (this.#running.has(userId)) return;
      this.#running.set(
        userId,
        this.#carry(userId).finally(() => this.#running.delete(userId)),
      );
    });
  }

  /** Resolves when all rooms know of all changes. */
  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running.values());
  }

  async #carry(userId: string): Promise<void> {
    while (this.#dirty.delete(userId)) {
      try {
        const { database, interner, rooms } = this.#options;
        const records = await roomsOfUser(database, await interner.userNid(userId));
        const joined = records
          .filter((record) => record.membership === membershipCode('join'))
          .map((record) => record.room);
        for (const nid of joined) {
          // The next round has the newest profile: what is left of this one would only be written over.
          if (this.#dirty.has(userId)) break;
          const room = await rooms.byNid(nid);
          if (room !== undefined) await this.#update(room, userId);
        }
      } catch (err) {
        this.#options.logger.error('a changed profile did not reach the rooms of its user', { user: userId, err });
      }
    }
  }

  async #update(room: Room, userId: string): Promise<void> {
    const member = room.member(userId);
    if (member?.membership !== 'join') return;
    try {
      const event = await this.#options.loader.one(room, member.event);
      const profile = await this.#options.profiles.profileOf(userId);
      const content = event?.content ?? {};
      if (
        event !== undefined &&
        content['displayname'] === profile.displayname &&
        content['avatar_url'] === profile.avatarUrl
      )
        return;
      await this.#options.events.send(room, {
        type: 'm.room.member',
        sender: userId,
        stateKey: userId,
        content: { ...memberContentWith(content, profile), membership: 'join' },
      });
    } catch (err) {
      // One room that refuses it does not keep the others from hearing of it.
      this.#options.logger.warn('a room did not take a changed profile', { user: userId, room: room.roomId, err });
    }
  }
}
