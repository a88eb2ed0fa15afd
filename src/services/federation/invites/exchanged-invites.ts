import { invalidParam, MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isUserId } from '#src/protocol/identifiers/identifiers.ts';
import { domainOf } from '#src/protocol/identifiers/server-name.ts';
import { isJsonObject, type JsonObject } from '#src/protocol/json/json-value.ts';
import type { EventService } from '#src/services/events/stream/event-service.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import { memberDraft } from '#src/services/rooms/membership/member-draft.ts';
import type { InvitePermission } from '#src/services/user-data/account-data/invite-permission.ts';
import type { ClosedRooms } from '#src/services/rooms/membership/closed-rooms.ts';
import type { RemoteMembership } from '#src/services/rooms/membership/remote-membership.ts';
import { assertAllowsServer } from '#src/services/room-model/room/compiled-acl.ts';
import { assertResident } from '#src/services/federation/handshakes/room-refusals.ts';

export interface ExchangedInvitesOptions {
  readonly rooms: RoomRegistry;
  readonly closed: Pick<ClosedRooms, 'assertOpen'>;
  readonly events: EventService;
  readonly remote: Pick<RemoteMembership, 'invite'>;
  readonly invitePermission: InvitePermission;
}

/**
 * Turns invites by address that local users made into invites of the owner of the address, when the owner's server asks for
 * it: that server is not in the room. Server-Server API, `PUT /exchange_third_party_invite`.
 */
export class ExchangedInvites {
  readonly #options: ExchangedInvitesOptions;

  constructor(options: ExchangedInvitesOptions) {
    this.#options = options;
  }

  /** @throws MatrixError M_NOT_FOUND, M_INVALID_PARAM, M_FORBIDDEN when the invite is revoked, or not signed by a key that the room names */
  async exchange(origin: string, roomId: string, event: JsonObject): Promise<void> {
    const { events, invitePermission, remote, rooms } = this.#options;
    const { content, room_id: named, sender, state_key: target, type } = event;
    const invite = isJsonObject(content) ? content['third_party_invite'] : undefined;
    if (type !== 'm.room.member' || !isJsonObject(content) || content['membership'] !== 'invite')
      throw invalidParam('The event is no invite.');
    if (!isJsonObject(invite) || !isJsonObject(invite['signed']))
      throw invalidParam('The invite has no third_party_invite.');
    if (!isUserId(sender) || !events.isLocal(sender)) throw invalidParam('The inviter is not a user of this server.');
    if (!isUserId(target) || domainOf(target) !== origin) throw invalidParam(`The invited user is not of ${origin}.`);
    if (named !== roomId) throw invalidParam('The invite is to another room.');
    this.#options.closed.assertOpen(roomId);
    const room = await rooms.byId(roomId);
    assertResident(room);
    assertAllowsServer(room, origin);
    // The authorization rules check only the signature: this server checks that the inviter may still invite.
    const levels = room.powerLevels();
    if (room.headMembership(sender) !== 'join' || levels.userLevel(sender) < levels.invite)
      throw new MatrixError('M_FORBIDDEN', 'The inviter may not invite any more.');
    const { token } = invite['signed'];
    const shown =
      typeof token === 'string' ? room.stateText('m.room.third_party_invite', 'display_name', token) : undefined;
    // The invite is in the inviter's name: of the other server's content only the display name is used.
    const { avatar_url: avatarUrl, displayname } = content;
    const complete: JsonObject = {
      membership: 'invite',
      ...(typeof displayname === 'string' ? { displayname } : {}),
      ...(typeof avatarUrl === 'string' ? { avatar_url: avatarUrl } : {}),
      third_party_invite: { display_name: shown ?? '', signed: invite['signed'] },
    };
    if (!events.isLocal(target)) {
      await remote.invite(room, sender, target, complete);
      return;
    }
    await invitePermission.assertInvitable(target, sender);
    await events.sendOnce(room, memberDraft(sender, target, complete), {
      userId: sender,
      deviceId: undefined,
      scope: `m.room.third_party_invite ${roomId}`,
      txnId: typeof token === 'string' ? token : '',
    });
  }
}
