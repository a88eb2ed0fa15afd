import type { ShadowBanned } from '#src/services/accounts/moderation/shadow-bans.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isRoomId, isUserId } from '#src/protocol/identifiers/identifiers.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { StrippedStateEvent } from '#src/protocol/events/stripped-state.ts';
import { MEMBER } from '#src/protocol/events/event-types.ts';
import type { AliasService } from '#src/services/rooms/aliases/alias-service.ts';
import type { EventDraft } from '#src/services/events/building/event-draft.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { EventService } from '#src/services/events/stream/event-service.ts';
import type { EventVisibility } from '#src/services/reading/visibility/event-visibility.ts';
import type { Membership } from '#src/services/room-model/room/membership.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import { notInRoom } from '#src/services/reading/access/room-access.ts';
import type { Requester } from '#src/services/accounts/sessions/requester.ts';
import type { Database } from '#src/storage/database.ts';
import { forgetRoom } from '#src/storage/room-model/event-reads.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import { joinedRoomIds } from '#src/storage/room-model/joined-rooms.ts';
import { guestRecheck } from './guest-rules.ts';
import { type Actor, type MembershipGate } from './membership-gate.ts';
import type { NoticeInvites } from './notice-invites.ts';
import { memberContent, type ProfileSource } from './profile-source.ts';
import type { WholeState } from '#src/services/room-model/room/whole-state.ts';
import type { RemoteMembership } from './remote-membership.ts';
import type { RoomOpenness } from './room-openness.ts';
import { strippedStateFor } from './stripped-room.ts';

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

export interface InviteRequest {
  readonly target: string;
  readonly reason?: string | undefined;
  readonly isDirect?: boolean | undefined;
}

export interface MembershipServiceOptions {
  readonly database: Database;
  readonly interner: Interner;
  readonly loader: EventLoader;
  readonly visibility: EventVisibility;
  readonly rooms: RoomRegistry;
  readonly events: EventService;
  readonly aliases: AliasService;
  /** Lets application services create a user of theirs who is about to be invited. */
  readonly beforeInvite: (userId: string) => Promise<void>;
  readonly profiles: ProfileSource;
  readonly gate: MembershipGate;
  readonly openness: RoomOpenness;
  readonly remote: RemoteMembership;
  /** Shadow-banned users: only their joins and leaves are visible to others. */
  readonly shadowBans: ShadowBanned;
  readonly wholeState: WholeState;
  readonly noticeInvites: NoticeInvites;
}

/** Why a room cannot be forgotten yet. */
const OPEN: Readonly<Partial<Record<Membership, string>>> = {
  join: 'You are in this room: leave it before you forget it.',
  invite: 'You are invited to this room: reject the invite before you forget it.',
  knock: 'You are knocking at this room: take that back before you forget it.',
};

const notFound = (): MatrixError => new MatrixError('M_NOT_FOUND', 'This server does not know the room.');

/** Joins, knocks, invites, leaves, kicks and bans. Client-Server API, "Room membership". */
export class MembershipService {
  readonly #database: Database;
  readonly #interner: Interner;
  readonly #loader: EventLoader;
  readonly #visibility: EventVisibility;
  readonly #rooms: RoomRegistry;
  readonly #events: EventService;
  readonly #aliases: AliasService;
  readonly #beforeInvite: (userId: string) => Promise<void>;
  readonly #profiles: ProfileSource;
  readonly #gate: MembershipGate;
  readonly #openness: RoomOpenness;
  readonly #remote: RemoteMembership;
  readonly #shadowBans: ShadowBanned;
  readonly #wholeState: WholeState;
  readonly #noticeInvites: NoticeInvites;

  constructor(options: MembershipServiceOptions) {
    this.#database = options.database;
    this.#interner = options.interner;
    this.#loader = options.loader;
    this.#visibility = options.visibility;
    this.#rooms = options.rooms;
    this.#events = options.events;
    this.#aliases = options.aliases;
    this.#beforeInvite = options.beforeInvite;
    this.#profiles = options.profiles;
    this.#gate = options.gate;
    this.#openness = options.openness;
    this.#remote = options.remote;
    this.#shadowBans = options.shadowBans;
    this.#wholeState = options.wholeState;
    this.#noticeInvites = options.noticeInvites;
  }

  /** The stripped state that users who are invited or knock see of a room. */
  strippedStateFor(room: Room, userId: string): Promise<StrippedStateEvent[]> {
    return strippedStateFor(this.#loader, this.#visibility, room, userId);
  }

  /**
   * Joins a room; being in it already is fine.
   *
   * @returns the room's id
   * @throws MatrixError M_NOT_FOUND, M_FORBIDDEN, M_GUEST_ACCESS_FORBIDDEN
   */
  async join(requester: Requester, wish: JoinRequest): Promise<string> {
    const { userId } = requester;
    const request = this.#silenced(userId, wish);
    const signed = request.thirdPartySigned === undefined ? undefined : signedInvite(request.thirdPartySigned);
    const { roomId, servers } = await this.#resolve(request);
    const entry = { servers, signed, request };
    for (;;) {
      const room = await this.#rooms.heardOf(roomId);
      if (room?.isJoined(userId) === true) return roomId;
      if (room === undefined || this.#remote.isNeeded(room, userId, 'join')) {
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
    const profile = await this.#profiles.profileOf(userId);
    try {
      const content = await this.#gate.admit(room, requester, {
        target: userId,
        content: { ...furtherContent(request), ...memberContent('join', profile, { reason: request.reason }) },
        isInvited: invite !== undefined,
        isCounted: true,
      });
      const draft = { ...memberDraft(userId, userId, content), recheck: guestRecheck(requester) };
      await (invite === undefined ? this.#events.send(room, draft) : this.#events.sendAll(room, [invite, draft]));
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
    return this.#shadowBans.has(userId) ? { ...request, reason: undefined, content: undefined } : request;
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
  async knock(requester: Requester, wish: JoinRequest): Promise<string> {
    const { userId } = requester;
    const request = this.#silenced(userId, wish);
    const { roomId, servers } = await this.#resolve(request);
    for (;;) {
      const room = await this.#rooms.heardOf(roomId);
      if (room !== undefined && !this.#remote.isNeeded(room, userId, 'knock')) {
        await this.#knockHere(requester, room, request);
        return roomId;
      }
      if (await this.#enterRemotely('knock', requester, roomId, { servers, signed: undefined, request })) return roomId;
    }
  }

  async #knockHere(requester: Requester, room: Room, request: JoinRequest): Promise<void> {
    const { userId } = requester;
    await this.#wholeState.ofMember(room, userId);
    await this.#assertMayKnowOf(room, userId, request);
    const content = await this.#gate.admit(room, requester, {
      target: userId,
      content: memberContent('knock', await this.#profiles.profileOf(userId), { reason: request.reason }),
      isCounted: true,
    });
    await this.#events.send(room, memberDraft(userId, userId, content));
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
    if (!isTold && !(await this.#openness.mayKnowOf(room, userId))) throw notInRoom();
  }

  /** Aliases of other servers can point to any room, and the requester may have created them. */
  #isOwnAlias(roomIdOrAlias: string): boolean {
    return roomIdOrAlias.startsWith('#') && this.#events.isLocal(roomIdOrAlias);
  }

  async #resolve(request: JoinRequest): Promise<{ roomId: string; servers: readonly string[] }> {
    const { roomIdOrAlias, servers = [] } = request;
    if (roomIdOrAlias.startsWith('#')) return this.#aliases.resolve(roomIdOrAlias, true);
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
    const isInvited = signed !== undefined || (await this.#rooms.heardOf(roomId))?.headMembership(userId) === 'invite';
    // Whether a room lets guests in is only known once its state is here, which nobody may have brought here at will.
    if (requester.isGuest && !isInvited) throw notInRoom();
    if (how === 'join') this.#gate.assertMayBring(requester);
    const profile = await this.#profiles.profileOf(userId);
    const content = await this.#gate.admit(undefined, requester, {
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
    return this.#remote.enter(how, { userId, roomId, servers, content, isGuest, thirdPartySigned: signed });
  }

  /** @throws MatrixError M_FORBIDDEN (oneself and those already in the room too), M_INVITE_BLOCKED, M_INVALID_PARAM */
  async invite(actor: Actor, roomId: string, request: InviteRequest): Promise<void> {
    const { target } = request;
    const sender = actor.userId;
    assertUserId(target);
    const room = await this.#inside(roomId, sender);
    await this.#wholeState.ofMember(room, target);
    if (target === sender) throw new MatrixError('M_FORBIDDEN', 'You cannot invite yourself.');
    const content = await this.#gate.admit(room, actor, {
      target,
      content: await this.inviteContent(request),
      isCounted: true,
    });
    if (this.#shadowBans.has(sender)) return;
    if (this.#events.isLocal(target)) await this.#events.send(room, memberDraft(sender, target, content));
    else await this.#remote.invite(room, sender, target, content);
  }

  /** The content of an invite's member event. */
  async inviteContent({ target, reason, isDirect }: InviteRequest): Promise<JsonObject> {
    await this.#beforeInvite(target);
    return memberContent('invite', await this.#profiles.profileOf(target), {
      reason,
      is_direct: isDirect === true ? true : undefined,
    });
  }

  /**
   * Leaves a room, rejects an invite or takes back a knock. Having left already is fine.
   *
   * @param by `server` where it is not the user's own wish
   * @throws MatrixError M_FORBIDDEN; M_CANNOT_LEAVE_SERVER_NOTICE_ROOM for an invite to the server notices room
   */
  async leave(userId: string, roomId: string, said?: string, by: 'user' | 'server' = 'user'): Promise<void> {
    const reason = this.#shadowBans.has(userId) ? undefined : said;
    const room = await this.#rooms.heardOf(roomId);
    if (room?.headMembership(userId) === undefined) throw notInRoom();
    if (room.member(userId)?.membership === 'leave') return;
    if (by === 'user') await this.#noticeInvites.assertMayLeave(room, userId);
    if (this.#remote.isNeeded(room, userId, 'leave') && room.headMembership(userId) !== 'ban')
      await this.#remote.leave(room, userId, reason);
    else await this.#events.send(room, memberDraft(userId, userId, memberContent('leave', {}, { reason })));
  }

  /** Removes a member, takes back an invite or refuses a knock. @throws MatrixError M_FORBIDDEN, also when the target is not there */
  async kick(actor: Actor, roomId: string, target: string, reason?: string): Promise<void> {
    assertUserId(target);
    const room = await this.#inside(roomId, actor.userId);
    await this.#wholeState.ofMember(room, target);
    const membership = room.headMembership(target);
    if (membership === undefined || membership === 'leave' || membership === 'ban') {
      throw new MatrixError('M_FORBIDDEN', `${target} is not in the room.`);
    }
    await this.#remove(room, actor, target, 'leave', reason);
  }

  /** @throws MatrixError M_FORBIDDEN */
  async ban(actor: Actor, roomId: string, target: string, reason?: string): Promise<void> {
    assertUserId(target);
    const room = await this.#inside(roomId, actor.userId);
    await this.#wholeState.ofMember(room, target);
    await this.#remove(room, actor, target, 'ban', reason);
  }

  /** @throws MatrixError M_BAD_STATE when the target is not banned, M_FORBIDDEN */
  async unban(actor: Actor, roomId: string, target: string, reason?: string): Promise<void> {
    assertUserId(target);
    const room = await this.#inside(roomId, actor.userId);
    await this.#wholeState.ofMember(room, target);
    if (room.headMembership(target) !== 'ban')
      throw new MatrixError('M_BAD_STATE', `${target} is not banned from the room.`);
    await this.#remove(room, actor, target, 'leave', reason);
  }

  async #remove(room: Room, actor: Actor, target: string, how: 'leave' | 'ban', reason?: string): Promise<void> {
    const content = await this.#gate.admit(room, actor, { target, content: memberContent(how, {}, { reason }) });
    if (this.#shadowBans.has(actor.userId)) return;
    await this.#events.send(room, memberDraft(actor.userId, target, content));
  }

  /**
   * Forgets a left room: the user can no longer read its history.
   *
   * @throws MatrixError M_UNKNOWN while joined, invited or knocking: clients still show that
   */
  async forget(userId: string, roomId: string): Promise<void> {
    const room = await this.#rooms.heardOf(roomId);
    const member = room?.member(userId);
    if (room === undefined || member === undefined) throw notFound();
    const open = OPEN[member.membership];
    if (open !== undefined) throw new MatrixError('M_UNKNOWN', open);
    if (member.forgotten) return;
    await forgetRoom(this.#database, room.nid, member.user);
    const now = room.member(userId);
    // A user who came back in the meantime has not forgotten anything.
    if (now?.event === member.event) room.setMember({ ...now, forgotten: true });
  }

  /** Ids of the rooms in which a user is. */
  async joinedRooms(userId: string): Promise<string[]> {
    const user = await this.#interner.findUser(userId);
    return user === undefined ? [] : joinedRoomIds(this.#database, user);
  }

  async #inside(roomId: string, sender: string): Promise<Room> {
    const room = await this.#rooms.byId(roomId);
    if (room?.headMembership(sender) !== ('join' satisfies Membership)) throw notInRoom();
    return room;
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

export const memberDraft = (sender: string, stateKey: string, content: JsonObject): EventDraft => ({
  type: MEMBER,
  sender,
  stateKey,
  content,
});

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

const assertUserId = (userId: string): void => {
  if (!isUserId(userId))
    throw new MatrixError('M_INVALID_PARAM', `${userId} is not a user id, such as @alice:example.org.`);
};
