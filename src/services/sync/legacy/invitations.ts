import type { InvitePermission } from '#src/services/user-data/account-data/invite-permission.ts';
import type { IgnoredUsers } from '#src/services/user-data/account-data/ignored-users.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import { membershipIn } from '#src/services/room-model/room/membership.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { VisibleEvent } from '#src/services/reading/visibility/visible-event.ts';

/** Reads the member events by which a user is invited to a room, or knocks at it. */
export class Invitations {
  readonly #loader: EventLoader;
  readonly #permission: InvitePermission;
  readonly #ignored: IgnoredUsers;

  constructor(options: {
    readonly loader: EventLoader;
    readonly invitePermission: InvitePermission;
    readonly ignoredUsers: IgnoredUsers;
  }) {
    this.#loader = options.loader;
    this.#permission = options.invitePermission;
    this.#ignored = options.ignoredUsers;
  }

  /** A user's present member event if it came after a position; invites only if their invite rules allow it. */
  async since(room: Room, userId: string, after: number): Promise<VisibleEvent[]> {
    const member = room.member(userId);
    if (member === undefined || member.event <= after) return [];
    const event = await this.#loader.one(room, member.event);
    if (event === undefined) return [];
    const membership = membershipIn(event.content);
    if (membership === 'invite') {
      if ((await this.#permission.of(userId)).fateOf(event.sender) !== 'shown') return [];
      if ((await this.#ignored.of(userId)).has(event.sender)) return [];
    }
    return [{ event, membership }];
  }
}
