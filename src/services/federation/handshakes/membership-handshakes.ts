import { MatrixError, invalidParam } from '#src/protocol/errors/matrix-error.ts';
import type { Handshake } from '#src/remote/federation/membership-api.ts';
import { countersigned, type PduSigner } from '#src/protocol/events/build-pdu.ts';
import { HIDDEN_FLAGS } from '#src/protocol/events/event-flags.ts';
import { hasRightContentHash } from '#src/protocol/events/event-hashes.ts';
import { isUserId } from '#src/protocol/identifiers/identifiers.ts';
import { domainOf } from '#src/protocol/identifiers/server-name.ts';
import { isJsonObject, type JsonObject } from '#src/protocol/json/json-value.ts';
import { MEMBER } from '#src/protocol/events/event-types.ts';
import type { EventReceiver } from '#src/services/events/receiving/event-receiver.ts';
import type { EventService } from '#src/services/events/stream/event-service.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { PolicyGate } from '#src/services/policy/gate/policy-gate.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { ClosedRooms } from '#src/services/rooms/membership/closed-rooms.ts';
import type { RestrictedJoins } from '#src/services/rooms/membership/restricted-joins.ts';
import type { EventVerifier } from '#src/services/servers/keys/event-verifier.ts';
import { assertAllowsServer } from '#src/services/room-model/room/compiled-acl.ts';
import { assertResident } from './room-refusals.ts';
import { invalidMembership } from './invalid-membership.ts';

/** A user who asks for a membership, and the room versions of their server. */
export interface MakeRequest {
  readonly origin: string;
  readonly roomId: string;
  readonly userId: string;
  /** Room versions; undefined where they do not matter. */
  readonly versions?: readonly string[] | undefined;
}

/** A member event that another server completed and signed. */
export interface SendRequest {
  readonly origin: string;
  readonly roomId: string;
  readonly eventId: string;
  readonly event: JsonObject;
}

/** A membership that was accepted. */
export interface Accepted {
  readonly room: Room;
  readonly event: StoredEvent;
  /** It was authorised by a user of this server, and has its signature. */
  readonly isAuthorised: boolean;
}

export interface MembershipHandshakesOptions {
  readonly rooms: RoomRegistry;
  readonly closed: Pick<ClosedRooms, 'assertOpen'>;
  readonly events: EventService;
  readonly receiver: EventReceiver;
  readonly verifier: EventVerifier;
  readonly restricted: RestrictedJoins;
  readonly signer: PduSigner;
  readonly policy: PolicyGate;
}

/**
 * Lets users of servers that are not in a room join it, leave it (reject an invite, revoke a knock), or knock at it: their server gets a
 * template, and sends back the signed event, which is accepted. Server-Server API, "Joining Rooms", "Leaving Rooms", "Knocking upon a room".
 */
export class MembershipHandshakes {
  readonly #options: MembershipHandshakesOptions;

  constructor(options: MembershipHandshakesOptions) {
    this.#options = options;
  }

  /**
   * The answer of `make_join`, `make_leave` and `make_knock`.
   *
   * @throws MatrixError M_NOT_FOUND, M_FORBIDDEN, M_INCOMPATIBLE_ROOM_VERSION, M_UNABLE_TO_AUTHORISE_JOIN, M_UNABLE_TO_GRANT_JOIN
   */
  async make(how: Handshake, { origin, roomId, userId, versions }: MakeRequest): Promise<JsonObject> {
    const { events, signer } = this.#options;
    if (!isUserId(userId) || domainOf(userId) !== origin)
      throw new MatrixError('M_FORBIDDEN', `${userId} is not a user of ${origin}.`);
    const room = await this.#room(how, roomId, origin);
    if (how !== 'leave') assertIsWhole(room);
    if (versions?.includes(room.version.id) === false) {
      throw new MatrixError(
        'M_INCOMPATIBLE_ROOM_VERSION',
        `The room has version ${room.version.id}, which your server does not support.`,
        { room_version: room.version.id },
      );
    }
    const authorisedBy = how === 'join' ? await this.#authorise(room, userId) : undefined;
    if (how === 'join') await this.#options.policy.mayJoinFrom(userId, roomId);
    const content = {
      membership: how,
      ...(authorisedBy === undefined ? {} : { join_authorised_via_users_server: authorisedBy }),
    };
    const event = await events.template(room, { type: MEMBER, sender: userId, stateKey: userId, content });
    return { room_version: room.version.id, event: { ...event, origin: signer.serverName } };
  }

  /**
   * Accepts the event of `send_join`, `send_leave` or `send_knock`.
   *
   * @throws MatrixError M_NOT_FOUND, M_FORBIDDEN, M_BAD_JSON, M_INVALID_PARAM, M_UNABLE_TO_AUTHORISE_JOIN, M_UNABLE_TO_GRANT_JOIN
   */
  async send(how: Handshake, request: SendRequest): Promise<Accepted> {
    const { receiver, signer, verifier } = this.#options;
    const { origin, roomId, eventId } = request;
    const room = await this.#room(how, roomId, origin);
    assertIsWhole(room);
    const userId = senderOf(how, request);
    const authorisedBy = this.#authorisedHere(how, room, request.event);
    if (authorisedBy !== undefined) {
      const authorising = await this.#authorise(room, userId);
      // The user that the template named may have lost the right to invite meanwhile; the authorization rules look at the one in the event.
      if (authorising === undefined && !room.isJoined(userId) && room.member(userId)?.membership !== 'invite')
        throw new MatrixError('M_FORBIDDEN', 'Joins of this room are not authorised by its members.');
    }
    const pdu = authorisedBy === undefined ? request.event : signed(room, request.event, signer);
    const [verified] = await verifier.verify(room.version, [pdu], { party: origin });
    if (verified?.ok !== true) throw invalidMembership('The event', verified);
    // An event with a wrong content hash would be accepted in redacted form, without its content: refuse it.
    if (!hasRightContentHash(room.version, pdu))
      throw invalidParam('The content of the event is not what its hash says.');
    if (verified.event.eventId !== eventId) throw invalidParam(`The event's id is ${verified.event.eventId}.`);
    const reception = await receiver.receive(room, verified.event, origin, true);
    switch (reception.outcome) {
      case 'accepted':
        return { room, event: reception.event, isAuthorised: authorisedBy !== undefined };
      case 'known': {
        const event = await this.#options.events.find(room, eventId);
        if (event === undefined) throw invalidParam('The event is known, and is none of this room.');
        // A known event may be rejected, or no longer the current membership.
        if ((event.flags & HIDDEN_FLAGS) !== 0 || room.headMembership(userId) !== how)
          throw new MatrixError('M_FORBIDDEN', 'The room did not allow this event, or it does not hold any more.');
        return { room, event, isAuthorised: authorisedBy !== undefined };
      }
      case 'missing':
        throw invalidParam('The event comes after events that this server does not have.');
      default:
        throw new MatrixError('M_FORBIDDEN', `The room does not allow this event: ${reception.reason}.`);
    }
  }

  /** A room that this server is in and may hand out, and whose ACL allows the origin. @throws MatrixError M_NOT_FOUND, M_FORBIDDEN */
  async #room(how: Handshake, roomId: string, origin: string): Promise<Room> {
    if (how !== 'leave') this.#options.closed.assertOpen(roomId);
    const room = await this.#options.rooms.byId(roomId);
    assertResident(room);
    assertAllowsServer(room, origin);
    return room;
  }

  /** The local user that a join names in `join_authorised_via_users_server`; undefined for everything else. */
  #authorisedHere(how: Handshake, room: Room, { content }: JsonObject): string | undefined {
    const authorising = isJsonObject(content) ? content['join_authorised_via_users_server'] : undefined;
    const applies = how === 'join' && room.version.auth.restrictedJoins && typeof authorising === 'string';
    return applies && this.#options.events.isLocal(authorising) ? authorising : undefined;
  }

  /**
   * The local user who authorises the join of a remote user; undefined when that is not needed. Server-Server API, "Restricted rooms".
   *
   * @throws MatrixError M_FORBIDDEN, M_UNABLE_TO_AUTHORISE_JOIN, M_UNABLE_TO_GRANT_JOIN
   */
  async #authorise(room: Room, userId: string): Promise<string | undefined> {
    const { restricted } = this.#options;
    const membership = room.headMembership(userId);
    if (!restricted.applies(room) || membership === 'join' || membership === 'invite' || membership === 'ban')
      return undefined;
    const entitlement = await restricted.entitlement(room, userId);
    if (entitlement === 'not entitled')
      throw new MatrixError('M_FORBIDDEN', `The room is for members of certain other rooms; ${userId} is in none.`);
    if (entitlement === 'unknown') {
      throw new MatrixError(
        'M_UNABLE_TO_AUTHORISE_JOIN',
        'This server is not in all of the rooms whose members may join: ask another one.',
      );
    }
    const authorising = restricted.authorisingUser(room);
    if (authorising !== undefined) return authorising;
    // "a 400 M_UNABLE_TO_GRANT_JOIN error". Server-Server API, "Restricted rooms".
    throw new MatrixError(
      'M_UNABLE_TO_GRANT_JOIN',
      'Nobody of this server may invite to the room: ask another one.',
      {},
      400,
    );
  }
}

/**
 * The user whose membership it is. "The receiving server MUST apply certain validation before accepting the event."
 *
 * @throws MatrixError M_INVALID_PARAM
 */
const senderOf = (how: Handshake, { origin, roomId, event }: SendRequest): string => {
  const { content, sender, state_key: stateKey, type } = event;
  if (type !== MEMBER) throw invalidParam(`The event is no ${MEMBER}.`);
  if (!isJsonObject(content) || content['membership'] !== how)
    throw invalidParam(`The event's membership is not ${how}.`);
  if (!isUserId(sender) || domainOf(sender) !== origin)
    throw invalidParam(`The event's sender is not a user of ${origin}.`);
  if (stateKey !== sender) throw invalidParam("The event's state_key is not its sender.");
  if (event['room_id'] !== roomId) throw invalidParam('The event is of another room.');
  return sender;
};

/** @throws MatrixError M_INVALID_PARAM */
const signed = (room: Room, event: JsonObject, signer: PduSigner): JsonObject => {
  try {
    return countersigned(room.version, event, signer);
  } catch {
    throw invalidParam('The event has no canonical form.');
  }
};

/**
 * In a partially joined room members and bans are not known yet. Only the error code for "not in the room" makes other servers
 * ask the next one.
 *
 * @throws MatrixError M_NOT_FOUND
 */
const assertIsWhole = ({ partial }: Room): void => {
  if (partial === undefined) return;
  throw new MatrixError('M_NOT_FOUND', 'This server does not know the full state of the room yet. Ask another one.');
};
