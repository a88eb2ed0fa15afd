import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isRoomId, isUserId } from '#src/protocol/identifiers/identifiers.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { ShadowBanned } from '#src/services/accounts/moderation/shadow-bans.ts';
import type { Requester } from '#src/services/accounts/sessions/requester.ts';
import type { EventDraft } from '#src/services/events/building/event-draft.ts';
import type { EventService } from '#src/services/events/stream/event-service.ts';
import { notInRoom } from '#src/services/reading/access/room-access.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { WholeState } from '#src/services/room-model/room/whole-state.ts';
import type { AliasService } from '#src/services/rooms/aliases/alias-service.ts';
import { guestRecheck } from './guest-rules.ts';
import { memberContent, memberDraft } from './member-draft.ts';
import type { MembershipGate } from './membership-gate.ts';
import type { ProfileSource } from './profile-source.ts';
import type { RemoteMembership } from './remote-membership.ts';
import type { RoomOpenness } from './room-openness.ts';

export interface JoinRequest {
  readonly roomIdOrAlias: string;
  /** Servers to ask about a room that is not known here. */
  readonly servers?: readonly string[] | undefined;
  readonly reason?: string | undefined;
  /** What else goes into the member event. */
  readonly content?: JsonObject | undefined;
  /** What an identity server signed for an invite by mail. Client-Server API, "Third-party invites". */
  readonly thirdPartySigned?: JsonObject | undefined;
}

export interface JoinServiceOptions {
  readonly rooms: RoomRegistry;
  readonly events: EventService;
  readonly aliases: AliasService;
  readonly profiles: ProfileSource;
  readonly gate: MembershipGate;
  readonly openness: RoomOpenness;
  readonly remote: RemoteMembership;
  /** Shadow-banned users: only their joins and leaves are visible to others. */
  readonly shadowBans: ShadowBanned;
  readonly wholeState: WholeState;
}

/** Joins rooms and knocks at them: here, or through another server where this one is not in the room. Client-Server API, "Joining rooms". */
export class JoinService {
  readonly #options: JoinServiceOptions;

  constructor(options: JoinServiceOptions) {
    this.#options = options;
  }

  /**
   * Joins a room; being in it already is fine.
   *
   * @returns the room's id
   * @throws MatrixError M_NOT_FOUND, M_FORBIDDEN, M_GUEST_ACCESS_FORBIDDEN
   */
  async join(requester: Requester, params: JoinRequest): Promise<string> {
    const { userId } = requester;
    const request = this.#silenced(userId, params);
    const signed = request.thirdPartySigned === undefined ? undefined : signedInvite(request.thirdPartySigned);
    const { roomId, servers } = await this.#resolve(request);
    const entry = { servers, signed, request };
    for (;;) {
      const room = await this.#options.rooms.heardOf(roomId);
      if (room?.isJoined(userId) === true) return roomId;
      if (room === undefined || this.#options.remote.isNeeded(room, userId, 'join')) {
        if (await this.#enterRemotely('join', requester, roomId, entry)) return roomId;
      } else if (await this.#joinHere(requester, room, entry)) return roomId;
    }
  }

  /** @returns false when the room cannot be joined here any more */
  async #joinHere(requester: Requester, room: Room, { servers, signed, request }: Entry): Promise<boolean> {
    const { userId } = requester;
    await this.#assertMayKnowOf(room, userId, request);
    const before = room.headMembership(userId);
    if (before === 'ban') throw new MatrixError('M_FORBIDDEN', 'You are banned from this room.');
    const invite = signed === undefined ? undefined : this.#thirdPartyInvite(room, userId, signed);
    const profile = await this.#options.profiles.profileOf(userId);
    try {
      const content = await this.#options.gate.admit(room, requester, {
        target: userId,
        content: { ...furtherContent(request), ...memberContent('join', profile, { reason: request.reason }) },
        isInvited: invite !== undefined,
        isCounted: true,
      });
      const draft = { ...memberDraft(userId, userId, content), recheck: guestRecheck(requester) };
      await (invite === undefined
        ? this.#options.events.send(room, draft)
        : this.#options.events.sendAll(room, [invite, draft]));
    } catch (error) {
      // No user of this server can authorise the join: one of another server in the room may.
      if (!(error instanceof MatrixError) || error.errcode !== 'M_UNABLE_TO_GRANT_JOIN') throw error;
      const others = [...servers, ...room.remoteServers()];
      if (room.remoteServers().length === 0) throw error;
      return this.#enterRemotely('join', requester, room.roomId, { servers: others, signed, request });
    }
    return true;
  }

  /** A shadow-banned user joins without a reason or other content of their own. */
  #silenced(userId: string, request: JoinRequest): JoinRequest {
    return this.#options.shadowBans.has(userId) ? { ...request, reason: undefined, content: undefined } : request;
  }

  /** The invite that a signed third-party invite stands for, in the name of who made it. */
  #thirdPartyInvite(room: Room, userId: string, { sender, token, signed }: SignedInvite): EventDraft {
    const displayName = room.stateText('m.room.third_party_invite', 'display_name', token);
    return memberDraft(sender, userId, {
      membership: 'invite',
      // All that was signed has to stay together, or the signature says nothing.
      third_party_invite: { display_name: displayName ?? '', signed },
    });
  }

  /** @returns the room's id @throws MatrixError M_NOT_FOUND, M_FORBIDDEN */
  async knock(requester: Requester, params: JoinRequest): Promise<string> {
    const { userId } = requester;
    const request = this.#silenced(userId, params);
    const { roomId, servers } = await this.#resolve(request);
    for (;;) {
      const room = await this.#options.rooms.heardOf(roomId);
      if (room !== undefined && !this.#options.remote.isNeeded(room, userId, 'knock')) {
        await this.#knockHere(requester, room, request);
        return roomId;
      }
      if (await this.#enterRemotely('knock', requester, roomId, { servers, signed: undefined, request })) return roomId;
    }
  }

  async #knockHere(requester: Requester, room: Room, request: JoinRequest): Promise<void> {
    const { userId } = requester;
    await this.#options.wholeState.ofMember(room, userId);
    await this.#assertMayKnowOf(room, userId, request);
    const content = await this.#options.gate.admit(room, requester, {
      target: userId,
      content: memberContent('knock', await this.#options.profiles.profileOf(userId), { reason: request.reason }),
      isCounted: true,
    });
    await this.#options.events.send(room, memberDraft(userId, userId, content));
  }

  /**
   * A requester who names a room by its id does not learn that it exists, unless it is open to them or they could know it: the aliases of this server are public, and
   * the token of an invitation by mail is in the room's state.
   *
   * @throws MatrixError M_FORBIDDEN
   */
  async #assertMayKnowOf(room: Room, userId: string, request: JoinRequest): Promise<void> {
    const token = request.thirdPartySigned?.['token'];
    const isTold =
      this.#isOwnAlias(request.roomIdOrAlias) ||
      (typeof token === 'string' && room.stateEvent('m.room.third_party_invite', token) !== undefined);
    if (!isTold && !(await this.#options.openness.mayKnowOf(room, userId))) throw notInRoom();
  }

  /** Aliases of other servers can point to any room, and the requester may have created them. */
  #isOwnAlias(roomIdOrAlias: string): boolean {
    return roomIdOrAlias.startsWith('#') && this.#options.events.isLocal(roomIdOrAlias);
  }

  async #resolve(request: JoinRequest): Promise<{ roomId: string; servers: readonly string[] }> {
    const { roomIdOrAlias, servers = [] } = request;
    if (roomIdOrAlias.startsWith('#')) return this.#options.aliases.resolve(roomIdOrAlias, true);
    if (!isRoomId(roomIdOrAlias)) {
      throw new MatrixError(
        'M_INVALID_PARAM',
        `${roomIdOrAlias} is neither a room id (!...) nor a room alias (#...:server).`,
      );
    }
    return { roomId: roomIdOrAlias, servers };
  }

  /** @returns false when it can be done here by now */
  async #enterRemotely(
    how: 'join' | 'knock',
    requester: Requester,
    roomId: string,
    { servers, signed, request }: Entry,
  ): Promise<boolean> {
    const { userId } = requester;
    const isInvited =
      signed !== undefined || (await this.#options.rooms.heardOf(roomId))?.headMembership(userId) === 'invite';
    // Whether a room lets guests in is only known once its state is here, which nobody may have brought here at will.
    if (requester.isGuest && !isInvited) throw notInRoom();
    if (how === 'join') this.#options.gate.assertMayBring(requester);
    const profile = await this.#options.profiles.profileOf(userId);
    const content = await this.#options.gate.admit(undefined, requester, {
      target: userId,
      content: {
        ...(how === 'join' ? furtherContent(request) : {}),
        ...memberContent(how, profile, { reason: request.reason }),
      },
      isCounted: true,
      isInvited,
      roomId,
    });
    const { isGuest } = requester;
    return this.#options.remote.enter(how, { userId, roomId, servers, content, isGuest, thirdPartySigned: signed });
  }
}

/** How a user asks to join or knock. */
interface Entry {
  readonly servers: readonly string[];
  readonly signed: SignedInvite | undefined;
  readonly request: JoinRequest;
}

/** The content of a join request without what only servers set. */
const furtherContent = ({ content = {} }: JoinRequest): JsonObject => {
  const { third_party_invite: _claimed, ...further } = content;
  return further;
};

/** What an identity server signed for an invite by mail. */
interface SignedInvite {
  readonly sender: string;
  readonly token: string;
  readonly signed: JsonObject;
}

/** @throws MatrixError M_BAD_JSON */
const signedInvite = (signed: JsonObject): SignedInvite => {
  const { sender, mxid, token, signatures } = signed;
  if (!isUserId(sender) || typeof mxid !== 'string' || typeof token !== 'string' || signatures === undefined)
    throw new MatrixError('M_BAD_JSON', 'third_party_signed needs sender, mxid, token and signatures.');
  return { sender, token, signed };
};
