import type { Logger } from '#src/kernel/logger.ts';
import { limitExceeded } from '#src/protocol/errors/limit-exceeded.ts';
import { MatrixError, invalidParam } from '#src/protocol/errors/matrix-error.ts';
import { countersigned, type PduSigner } from '#src/protocol/events/build-pdu.ts';
import { hasRightContentHash } from '#src/protocol/events/event-hashes.ts';
import type { IdentifiedPdu, Pdu } from '#src/protocol/events/pdu.ts';
import { isRoomId, isUserId } from '#src/protocol/identifiers/identifiers.ts';
import { domainOf } from '#src/protocol/identifiers/server-name.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '#src/protocol/json/json-value.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import { roomVersion } from '#src/protocol/room-versions/room-versions.ts';
import { MEMBER } from '#src/protocol/events/event-types.ts';
import type { UserService } from '#src/services/accounts/users/user-service.ts';
import { type Member, membershipIn } from '#src/services/room-model/room/membership.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { PolicyGate } from '#src/services/policy/gate/policy-gate.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { EventVerifier } from '#src/services/servers/keys/event-verifier.ts';
import type { InvitePermission } from '#src/services/user-data/account-data/invite-permission.ts';
import type { ClosedRooms } from '#src/services/rooms/membership/closed-rooms.ts';
import { assertAllowsServer } from '#src/services/room-model/room/compiled-acl.ts';
import { NOT_IN_ROOM } from '#src/services/federation/handshakes/room-refusals.ts';
import type { Database } from '#src/storage/database.ts';
import { pendingInvites } from '#src/storage/federation/unjoined-rooms.ts';
import type { OutOfBandMemberships } from '#src/services/federation/out-of-band/out-of-band-memberships.ts';
import { candidatesFor } from '#src/services/federation/handshakes/join-candidates.ts';
import { receivedRoomState, verifiedRoomState } from './invite-room-state.ts';
import { invalidMembership } from '#src/services/federation/handshakes/invalid-membership.ts';

/** Pending invites to remote rooms of one user: further ones are refused. */
export const MAX_WAITING = 1_000;

/** An invite of a user of this server, as another server sends it. */
export interface ReceivedInvite {
  readonly origin: string;
  readonly roomId: string;
  readonly eventId: string;
  /** Undefined in version 1 of the endpoint: then it is one of the first two. */
  readonly version: string | undefined;
  readonly event: JsonObject;
  /** `invite_room_state`. */
  readonly state: JsonValue | undefined;
}

export interface ReceivedInvitesOptions {
  readonly database: Database;
  readonly users: Pick<UserService, 'account'>;
  /** Lets application services create a user of theirs who is about to be invited. */
  readonly beforeInvite: (userId: string) => Promise<void>;
  readonly closed: Pick<ClosedRooms, 'assertOpen'>;
  readonly rooms: RoomRegistry;
  readonly invitePermission: InvitePermission;
  readonly policy: PolicyGate;
  readonly verifier: EventVerifier;
  readonly outOfBand: OutOfBandMemberships;
  readonly isLocal: (userId: string) => boolean;
  readonly signer: PduSigner;
  readonly logger: Logger;
}

/** Receives invites of local users from other servers: checks, signs and stores them. Server-Server API, "Inviting to a room". */
export class ReceivedInvites {
  readonly #options: ReceivedInvitesOptions;

  constructor(options: ReceivedInvitesOptions) {
    this.#options = options;
  }

  /**
   * @returns the event with this server's signature
   * @throws MatrixError M_INCOMPATIBLE_ROOM_VERSION, M_BAD_JSON, M_INVALID_PARAM, M_NOT_FOUND, M_FORBIDDEN, M_INVITE_BLOCKED, M_LIMIT_EXCEEDED
   */
  async take(invite: ReceivedInvite): Promise<JsonObject> {
    const { closed, invitePermission, outOfBand, policy, rooms, signer } = this.#options;
    const { origin, roomId, version: versionId = '1' } = invite;
    const room = isRoomId(roomId) ? await rooms.byId(roomId) : undefined;
    if (room?.isResident === true) assertAllowsServer(room, origin);
    const version = roomVersion(versionId);
    if (version === undefined) {
      throw new MatrixError('M_INCOMPATIBLE_ROOM_VERSION', `This server does not support room version ${versionId}.`, {
        room_version: versionId,
      });
    }
    if (!isRoomId(roomId)) throw invalidParam(`${roomId} is no room id.`);
    const target = this.#targetOf(invite);
    closed.assertOpen(roomId);
    const event = await this.#verified(version, invite);
    await this.#assertTakes(target, room);
    await policy.mayBeInvitedFrom(event.eventId, roomId, event.pdu);
    await invitePermission.assertInvitable(target, event.pdu.sender);
    const roomState = await this.#roomState(version, invite);
    const signed = countersigned(version, { ...event.pdu }, signer);
    // For a room that this server is in, the invite also arrives by `/send`.
    if (room?.isResident !== true) {
      const state = receivedRoomState(roomState, version);
      await outOfBand.store({ roomId, version, event: { eventId: event.eventId, pdu: signed as Pdu }, state });
    }
    return signed;
  }

  /**
   * Receives an event of a room that this server is not in: the end of an invite, or of a knock. Only the inviter's server may revoke an invite,
   * and only servers that the stripped state names may refuse a knock: which others are in the room is not known here.
   *
   * @returns why it is refused; undefined when it was accepted
   */
  async takeEvent(origin: string, roomId: string, pdu: JsonObject): Promise<string | undefined> {
    const { isLocal, outOfBand, rooms, verifier } = this.#options;
    const { content, sender, state_key: target, type } = pdu;
    if (type !== MEMBER || !isUserId(target) || !isLocal(target) || sender === target) return NOT_IN_ROOM;
    const after = membershipIn(content);
    if ((after !== 'leave' && after !== 'ban') || !isUserId(sender) || domainOf(sender) !== origin) return NOT_IN_ROOM;
    const room = await rooms.heardOf(roomId);
    const before = room?.member(target);
    if (room === undefined || room.isResident || before === undefined) return NOT_IN_ROOM;
    if (before.membership !== 'invite' && before.membership !== 'knock') return NOT_IN_ROOM;
    if (before.membership === 'invite' && (await outOfBand.senderOf(room, before)) !== sender)
      return 'The invite was made by another user.';
    if (before.membership === 'knock' && !(await this.#isOfRoom(room, before, origin)))
      return 'Nothing that was told of the room says that your server is in it.';
    const [verified] = await verifier.verify(room.version, [pdu], { party: origin });
    if (verified?.ok !== true) return `The event is not valid: ${verified?.reason ?? 'it is missing'}.`;
    await outOfBand.store({ roomId, version: room.version, event: verified.event, state: [] });
    return undefined;
  }

  /** Whether a server is in a room, by the stripped state of a knock or by the room id. */
  async #isOfRoom(room: Room, member: Member, origin: string): Promise<boolean> {
    const { outOfBand, signer } = this.#options;
    const knock = await outOfBand.eventOf(room, member);
    const sources = { roomId: room.roomId, named: [], room, member: knock };
    return candidatesFor(sources, { serverName: signer.serverName }).includes(origin);
  }

  /** "Servers MUST apply certain validation to ensure they don't accidentally sign non-invite events". @throws MatrixError M_INVALID_PARAM */
  #targetOf({ event, origin, roomId }: ReceivedInvite): string {
    const { content, room_id: room, sender, state_key: target, type } = event;
    if (type !== MEMBER || !isJsonObject(content) || content['membership'] !== 'invite')
      throw invalidParam('The event is no invite.');
    if (!isUserId(sender) || domainOf(sender) !== origin)
      throw invalidParam(`The invite is not by a user of ${origin}.`);
    if (!isUserId(target) || !this.#options.isLocal(target))
      throw invalidParam('The invited user is not of this server.');
    if (room !== roomId) throw invalidParam('The invite is to another room.');
    return target;
  }

  async #verified(version: RoomVersion, { event, eventId, origin }: ReceivedInvite): Promise<IdentifiedPdu> {
    const { unsigned: _unsigned, ...pdu } = event;
    const [verified] = await this.#options.verifier.verify(version, [pdu], { party: origin });
    if (verified?.ok !== true) throw invalidMembership('The invite', verified);
    if (!hasRightContentHash(version, pdu)) throw invalidParam('The content of the invite is not what its hash says.');
    if (verified.event.eventId !== eventId) throw invalidParam(`The invite's id is ${verified.event.eventId}.`);
    return verified.event;
  }

  /** @throws MatrixError M_NOT_FOUND, M_FORBIDDEN, M_LIMIT_EXCEEDED */
  async #assertTakes(target: string, room: Room | undefined): Promise<void> {
    const { database, users } = this.#options;
    await this.#options.beforeInvite(target);
    const user = await users.account(target);
    if (user === undefined) throw new MatrixError('M_NOT_FOUND', `There is no user ${target}.`);
    if (user.deactivated) throw new MatrixError('M_FORBIDDEN', `${target} has left this server.`);
    if (room?.isResident === true) return;
    if ((await pendingInvites(database, target, MAX_WAITING)) >= MAX_WAITING)
      throw limitExceeded('pending_invites', 3_600_000, `${target} has too many pending invites.`);
  }

  /**
   * Checks `invite_room_state`: "SHOULD ... if the m.room.create event is missing", "events fail a signature check", "does not reside in
   * the same room". Other servers still send stripped events, which cannot be verified.
   *
   * @returns the stripped state to show to the user
   * @throws MatrixError M_INVALID_PARAM in rooms whose id is the hash of their create event; in others it is logged only
   */
  async #roomState(version: RoomVersion, { origin, roomId, state }: ReceivedInvite): Promise<readonly JsonValue[]> {
    const { logger, verifier } = this.#options;
    const { fault, shown } = await verifiedRoomState(verifier, { version, roomId, state, showsDoubtful: true });
    if (fault !== undefined && version.roomIdIsCreateHash) throw invalidParam(`invite_room_state ${fault}.`);
    if (fault !== undefined)
      logger.info('the stripped state of an invite could not be verified', { origin, room_id: roomId, fault });
    return shown;
  }
}
