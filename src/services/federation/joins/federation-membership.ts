import type { Logger } from '#src/kernel/logger.ts';
import { SerialByKey } from '#src/kernel/concurrency/serial.ts';
import { domainOf } from '#src/protocol/identifiers/server-name.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { matrixErrorOf } from '#src/remote/federation/federation-result.ts';
import type { MembershipApi } from '#src/remote/federation/membership-api.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { ClosedRooms } from '#src/services/rooms/membership/closed-rooms.ts';
import { notInRoom } from '#src/services/reading/access/room-access.ts';
import type { RemoteEntry, RemoteMembership } from '#src/services/rooms/membership/remote-membership.ts';
import type { EventVerifier } from '#src/services/servers/keys/event-verifier.ts';
import type { ServerPolicy } from '#src/services/servers/server-policy.ts';
import { candidatesFor } from '#src/services/federation/handshakes/join-candidates.ts';
import type { FullStates } from '#src/services/federation/partial-state/full-states.ts';
import type { OutOfBandMemberships } from '#src/services/federation/out-of-band/out-of-band-memberships.ts';
import { MEMBER } from '#src/protocol/events/event-types.ts';
import { memberEvent, type MemberEvents } from '#src/services/federation/handshakes/member-events.ts';
import type { SentInvites } from '#src/services/federation/invites/sent-invites.ts';
import { membershipTemplate, RefusalError, tryEach } from './server-attempts.ts';
import { receivedRoomState, verifiedRoomState } from '#src/services/federation/invites/invite-room-state.ts';
import type { RemoteJoins } from './remote-joins.ts';
import type { RemoteLeaves } from './remote-leaves.ts';

export interface FederationMembershipOptions {
  readonly api: MembershipApi;
  readonly closed: Pick<ClosedRooms, 'assertOpen'>;
  readonly policy: ServerPolicy;
  readonly verifier: EventVerifier;
  readonly rooms: RoomRegistry;
  readonly loader: EventLoader;
  readonly outOfBand: OutOfBandMemberships;
  readonly invites: SentInvites;
  readonly joins: RemoteJoins;
  readonly leaves: RemoteLeaves;
  readonly members: MemberEvents;
  readonly serverName: string;
  readonly logger: Logger;
  /** Fetches what was left out of an answer. */
  readonly fullStates: FullStates;
}

/** Joins, knocks at and leaves rooms of other servers for local users, and invites remote users. Server-Server API, "Joining Rooms". */
export class FederationMembership implements RemoteMembership {
  readonly #options: FederationMembershipOptions;
  /** One after the other in each room: the first one imports the room, and the others find it. */
  readonly #entering = new SerialByKey<string>();

  constructor(options: FederationMembershipOptions) {
    this.#options = options;
  }

  isNeeded(room: Room | undefined, userId: string, how: 'join' | 'knock' | 'leave'): boolean {
    if (room?.isHere !== true) return true;
    // Whether they are banned is known where the state is whole.
    if (room.isResident) return how === 'join' && room.partial !== undefined;
    // All local members have left. Where no other server was in the room, its copy here is the whole room.
    return room.remoteServers().length > 0 || room.member(userId)?.membership === 'invite';
  }

  async enter(how: 'join' | 'knock', entry: RemoteEntry): Promise<boolean> {
    const isDone = await this.#enter(how, entry);
    const room = how === 'join' ? await this.#options.rooms.heardOf(entry.roomId) : undefined;
    // The state of a small room is often here by the time the user is.
    if (room !== undefined) await this.#options.fullStates.attempt(room);
    return isDone;
  }

  #enter(how: 'join' | 'knock', entry: RemoteEntry): Promise<boolean> {
    return this.#entering.run(entry.roomId, async () => {
      this.#options.closed.assertOpen(entry.roomId);
      const room = await this.#options.rooms.heardOf(entry.roomId);
      if (room?.isJoined(entry.userId) === true) return true;
      const wasResident = room?.isResident === true;
      const member = await memberEvent(this.#options.loader, room, entry.userId);
      const servers = candidatesFor({ roomId: entry.roomId, named: entry.servers, room, member }, this.#options);
      // No server can be asked: for the user it is as if there were no such room.
      if (servers.length === 0) throw notInRoom();
      await this.#exchange(entry);
      const known = wasResident ? room.version : undefined;
      const named = candidatesFor({ roomId: '', named: entry.servers, room: undefined, member }, this.#options);
      return tryEach(
        this.#options.logger,
        servers,
        (server) =>
          how === 'join' ? this.#options.joins.through(server, entry, known) : this.#knockThrough(server, entry),
        named.length === 0 ? servers : named,
      );
    });
  }

  leave(room: Room, userId: string, reason: string | undefined): Promise<void> {
    return this.#entering.run(room.roomId, () => this.#options.leaves.leave(room, userId, reason));
  }

  invite(room: Room, sender: string, target: string, content: JsonObject): Promise<StoredEvent> {
    return this.#options.invites.invite(room, sender, target, content);
  }

  async #knockThrough(server: string, { userId, roomId, content }: RemoteEntry): Promise<boolean> {
    const { api, outOfBand } = this.#options;
    const { links, version } = await membershipTemplate(api, 'knock', server, { roomId, userId });
    const event = this.#options.members.complete(
      version,
      roomId,
      { sender: userId, target: userId, content: { ...content, membership: 'knock' } },
      links,
    );
    const answer = await api.sendKnock(server, { roomId, eventId: event.eventId, event: event.pdu });
    if (!answer.ok) throw new RefusalError(answer);
    // "Entries which are improperly signed or formatted SHOULD be removed by the server prior to supplying them over the Client-Server API."
    const told = { version, roomId, state: answer.state, showsDoubtful: false };
    const { shown } = await verifiedRoomState(this.#options.verifier, told);
    const state = receivedRoomState(shown, version);
    return (await outOfBand.store({ roomId, version, event, state })) !== undefined;
  }

  /** Asks the inviter's server to turn a third-party invite into an invite of the user. */
  async #exchange({ content, roomId, thirdPartySigned, userId }: RemoteEntry): Promise<void> {
    if (thirdPartySigned === undefined) return;
    const { sender, signed } = thirdPartySigned;
    const { displayname, avatar_url: avatarUrl } = content;
    const answer = await this.#options.api.exchangeThirdPartyInvite(domainOf(sender) ?? '', roomId, {
      type: MEMBER,
      room_id: roomId,
      sender,
      state_key: userId,
      content: {
        membership: 'invite',
        ...(displayname === undefined ? {} : { displayname }),
        ...(avatarUrl === undefined ? {} : { avatar_url: avatarUrl }),
        third_party_invite: { display_name: typeof displayname === 'string' ? displayname : '', signed },
      },
    });
    if (!answer.ok) throw matrixErrorOf(answer);
  }
}
