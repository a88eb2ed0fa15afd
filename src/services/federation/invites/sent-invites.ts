import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { PduTemplate } from '#src/protocol/events/build-pdu.ts';
import { HIDDEN_FLAGS } from '#src/protocol/events/event-flags.ts';
import { domainOf } from '#src/protocol/identifiers/server-name.ts';
import { isJsonObject, type JsonObject } from '#src/protocol/json/json-value.ts';
import { type FederationFailure, matrixErrorOf } from '#src/remote/federation/federation-result.ts';
import type { MembershipApi } from '#src/remote/federation/membership-api.ts';
import type { PolicyServers } from '#src/services/events/policy/policy-servers.ts';
import type { EventReceiver } from '#src/services/events/receiving/event-receiver.ts';
import type { EventService } from '#src/services/events/stream/event-service.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { memberDraft } from '#src/services/rooms/membership/member-draft.ts';
import type { EventVerifier } from '#src/services/servers/keys/event-verifier.ts';
import type { ServerPolicy } from '#src/services/servers/server-policy.ts';
import { assertAllowsServer } from '#src/services/room-model/room/compiled-acl.ts';
import { memberEvent, type MemberEvents } from '#src/services/federation/handshakes/member-events.ts';
import { sentRoomState } from './invite-room-state.ts';

export interface SentInvitesOptions {
  readonly api: Pick<MembershipApi, 'invite'>;
  readonly events: Pick<EventService, 'find' | 'template'>;
  readonly loader: EventLoader;
  readonly members: MemberEvents;
  readonly policies: Pick<PolicyServers, 'signed'>;
  readonly policy: ServerPolicy;
  readonly receiver: Pick<EventReceiver, 'receive'>;
  readonly serverName: string;
  readonly verifier: EventVerifier;
}

/** Sends invites of remote users to their servers, which sign them. Server-Server API, "Inviting to a room". */
export class SentInvites {
  readonly #options: SentInvitesOptions;

  constructor(options: SentInvitesOptions) {
    this.#options = options;
  }

  /**
   * Has the invited user's server sign an invite, and stores it.
   *
   * @returns the invite
   * @throws MatrixError M_FORBIDDEN, and what that server says
   */
  async invite(room: Room, sender: string, target: string, content: JsonObject): Promise<StoredEvent> {
    const { api, events, loader, members, policies, policy, receiver, serverName, verifier } = this.#options;
    const server = domainOf(target) ?? '';
    if (!policy.allows(server)) throw new MatrixError('M_FORBIDDEN', `This server does not federate with ${server}.`);
    assertAllowsServer(room, server);
    const template = await events.template(room, memberDraft(sender, target, content));
    const {
      depth,
      prev_events: prev,
      auth_events: auth,
    } = template as unknown as {
      readonly depth: number;
      readonly prev_events: PduTemplate['prevEvents'];
      readonly auth_events: PduTemplate['authEvents'];
    };
    const built = await policies.signed(
      room,
      members.complete(
        room.version,
        room.roomId,
        { sender, target, content },
        { depth, prevEvents: prev, authEvents: auth },
      ),
    );
    const state = sentRoomState(room, await memberEvent(loader, room, sender));
    const answer = await api.invite(
      server,
      room.version,
      { roomId: room.roomId, eventId: built.eventId, event: built.pdu },
      state,
    );
    if (!answer.ok) throw inviteErrorOf(answer);
    const [verified] = await verifier.verify(room.version, [answer.event]);
    const isSigned = isJsonObject(answer.event['signatures']) && isJsonObject(answer.event['signatures'][serverName]);
    if (verified?.ok !== true || !isSigned || verified.event.eventId !== built.eventId)
      throw new MatrixError('M_CONNECTION_FAILED', `${server} answered with another event than the invite.`);
    const reception = await receiver.receive(room, verified.event);
    if (reception.outcome === 'accepted') return reception.event;
    const known = reception.outcome === 'known' ? await events.find(room, built.eventId) : undefined;
    if (known !== undefined && (known.flags & HIDDEN_FLAGS) === 0) return known;
    const reason = 'reason' in reception ? reception.reason : 'it was refused, or comes after events that are not here';
    throw new MatrixError('M_FORBIDDEN', `The room does not allow this event: ${reason}.`);
  }
}

/** "If M_MISSING_PARAM or M_INVALID_PARAM is returned ... the Client-Server API request SHOULD fail with a 5xx error rather than being passed through." */
const inviteErrorOf = (failure: FederationFailure): MatrixError =>
  failure.errcode === 'M_MISSING_PARAM' || failure.errcode === 'M_INVALID_PARAM'
    ? new MatrixError('M_CONNECTION_FAILED', `${failure.destination} does not take the invite: ${failure.error}`)
    : matrixErrorOf(failure);
