import {
  inviteByAddressRevoked,
  inviteByAddressSent,
  redeemThirdPartyInvite,
  sendInvitation,
} from '#src/jobs/definitions.ts';
import { requestJob } from '#src/jobs/job-definition.ts';
import type { Clock } from '#src/kernel/clock.ts';
import type { Logger } from '#src/kernel/logger.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { THIRD_PARTY_INVITE } from '#src/protocol/events/event-types.ts';
import type { InvitePermission } from '#src/services/user-data/account-data/invite-permission.ts';
import type { EventDraft } from '#src/services/events/building/event-draft.ts';
import type { FollowUp } from '#src/services/events/building/follow-ups.ts';
import type { EventService } from '#src/services/events/stream/event-service.ts';
import type { ClosedRooms } from '#src/services/rooms/membership/closed-rooms.ts';
import { memberContent, memberDraft } from '#src/services/rooms/membership/member-draft.ts';
import type { ProfileSource } from '#src/services/rooms/membership/profile-source.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Database, Tx } from '#src/storage/database.ts';
import {
  deleteThirdPartyInvite,
  findThirdPartyInvite,
  markThirdPartyInviteSent,
  revokeThirdPartyInvite,
  type ThirdPartyInviteRecord,
} from '#src/storage/rooms/third-party-invites.ts';
import { type InviteKeys, publicKeysOf } from './invite-keys.ts';

/** Milliseconds in which the event of an invitation is sent, or never will be. */
const SENDING_MS = 60_000;

/** An invitation of an address that is published stands; "a revoked invitation is one with empty content". */
export const invitesByAddressFollowUp: FollowUp = ({ room, state }) =>
  state.flatMap(({ content, stateKey: token, type }) => {
    if (type !== THIRD_PARTY_INVITE || token === undefined) return [];
    return publicKeysOf(content).length > 0
      ? requestJob(inviteByAddressSent, { token, roomId: room.roomId })
      : requestJob(inviteByAddressRevoked, { token, roomId: room.roomId });
  });

export interface InviteRedemptionOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly rooms: RoomRegistry;
  readonly closed: Pick<ClosedRooms, 'assertOpen'>;
  readonly events: EventService;
  readonly profiles: ProfileSource;
  readonly invitePermission: InvitePermission;
  readonly keys: InviteKeys;
  /** Whether invitees are told by mail. */
  readonly sendsMail: boolean;
}

/**
 * Turns invitations of an address that this server stores into invites of the user who binds the address.
 * Client-Server API, "Third-party invites": "it should insert an m.room.member event into the room's graph for that user".
 */
export class InviteRedemption {
  readonly #options: InviteRedemptionOptions;

  constructor(options: InviteRedemptionOptions) {
    this.#options = options;
  }

  /** Has a claimed invitation redeemed after the commit. */
  enqueue(tx: Tx, token: string): Promise<void> {
    return tx.enqueue(redeemThirdPartyInvite, { token });
  }

  /**
   * Notes that the event of an invitation is in its room, and redeems it if its address was bound before that; else the invitee is told by
   * mail.
   */
  async sent(token: string, roomId: string): Promise<void> {
    await this.#options.database.write(async (tx) => {
      if ((await markThirdPartyInviteSent(tx, token, roomId)) !== undefined) await this.enqueue(tx, token);
      else if (this.#options.sendsMail) await tx.enqueue(sendInvitation, { token });
    });
  }

  /** Keeps a revoked invitation no longer: its keys are not valid any more. */
  revoked(token: string, roomId: string): Promise<void> {
    return revokeThirdPartyInvite(this.#options.database, token, roomId);
  }

  /**
   * Redeems a claimed invitation, once, however often it is asked to. One that was revoked, whose inviter may not invite any more,
   * or whose invitee may not be invited comes to nothing.
   */
  async redeem(token: string): Promise<void> {
    const { database, clock, rooms, logger } = this.#options;
    const invite = await findThirdPartyInvite(database, token);
    if (invite === undefined || invite.claimedBy === null) return;
    const room = await rooms.byId(invite.roomId);
    const isThere = room?.stateEvent(THIRD_PARTY_INVITE, token) !== undefined;
    // The request that is just sending it will see that it is claimed.
    if (!isThere && !invite.sent && clock.now() - invite.createdTs < SENDING_MS) return;
    const obstacle =
      room === undefined ? 'there is no such room' : await this.#redeemIn(room, invite, invite.claimedBy);
    if (obstacle !== undefined) {
      const { roomId, inviter } = invite;
      logger.info('a third-party invite could not be redeemed and was dropped', {
        room_id: roomId,
        inviter,
        reason: obstacle,
      });
    }
    await deleteThirdPartyInvite(database, token);
  }

  /** @returns why it cannot be redeemed; undefined when it has been */
  async #redeemIn(room: Room, invite: ThirdPartyInviteRecord, userId: string): Promise<string | undefined> {
    const { closed, events, invitePermission } = this.#options;
    const { token, inviter } = invite;
    const membership = room.headMembership(userId);
    if (membership === 'join') return undefined;
    // The authorization rules ask for a signature only: what the inviter may do now is for us to say.
    if (room.headMembership(inviter) !== 'join') return 'the inviter has left';
    const levels = room.powerLevels();
    if (levels.userLevel(inviter) < levels.invite) return 'the inviter may not invite any more';
    const draft = await this.#draft(room, invite, userId);
    if (draft === undefined) return 'it was revoked';
    try {
      closed.assertOpen(room.roomId);
      await invitePermission.assertInvitable(userId, inviter);
      await events.sendOnce(room, draft, {
        userId: inviter,
        deviceId: undefined,
        scope: `${THIRD_PARTY_INVITE} ${room.roomId}`,
        txnId: token,
      });
    } catch (error) {
      if (error instanceof MatrixError && (error.errcode === 'M_FORBIDDEN' || error.errcode === 'M_INVITE_BLOCKED'))
        return error.message;
      throw error;
    }
    return undefined;
  }

  /** The member event in the name of the inviter; undefined when the invitation was revoked. */
  async #draft(
    room: Room,
    { token, inviter }: ThirdPartyInviteRecord,
    userId: string,
  ): Promise<EventDraft | undefined> {
    const content = room.stateEvent(THIRD_PARTY_INVITE, token)?.content;
    if (content === undefined) return undefined;
    const signed = this.#options.keys.sign(content, { mxid: userId, sender: inviter, token });
    if (signed === undefined) return undefined;
    const displayName = content['display_name'];
    return memberDraft(
      inviter,
      userId,
      memberContent('invite', await this.#options.profiles.profileOf(userId), {
        third_party_invite: { display_name: typeof displayName === 'string' ? displayName : '', signed },
      }),
    );
  }
}
