import type { ShadowBanned } from '#src/services/accounts/moderation/shadow-bans.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isUserId } from '#src/protocol/identifiers/identifiers.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { StrippedStateEvent } from '#src/protocol/events/stripped-state.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { EventService } from '#src/services/events/stream/event-service.ts';
import type { EventVisibility } from '#src/services/reading/visibility/event-visibility.ts';
import type { Membership } from '#src/services/room-model/room/membership.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import { notInRoom } from '#src/services/reading/access/room-access.ts';
import type { Database } from '#src/storage/database.ts';
import { forgetRoom } from '#src/storage/room-model/member-rows.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import { joinedRoomIds } from '#src/storage/room-model/joined-rooms.ts';
import { memberContent, memberDraft } from './member-draft.ts';
import { type Actor, type MembershipGate } from './membership-gate.ts';
import type { NoticeInvites } from './notice-invites.ts';
import type { ProfileSource } from './profile-source.ts';
import type { WholeState } from '#src/services/room-model/room/whole-state.ts';
import type { RemoteMembership } from './remote-membership.ts';
import { strippedStateFor } from './stripped-room.ts';

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
  /** Lets application services create a user of theirs who is about to be invited. */
  readonly beforeInvite: (userId: string) => Promise<void>;
  readonly profiles: ProfileSource;
  readonly gate: MembershipGate;
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

/** Invites, leaves, kicks, bans, and what rooms a user is in. How users come into rooms: `JoinService`. Client-Server API, "Room membership". */
export class MembershipService {
  readonly #database: Database;
  readonly #interner: Interner;
  readonly #loader: EventLoader;
  readonly #visibility: EventVisibility;
  readonly #rooms: RoomRegistry;
  readonly #events: EventService;
  readonly #beforeInvite: (userId: string) => Promise<void>;
  readonly #profiles: ProfileSource;
  readonly #gate: MembershipGate;
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
    this.#beforeInvite = options.beforeInvite;
    this.#profiles = options.profiles;
    this.#gate = options.gate;
    this.#remote = options.remote;
    this.#shadowBans = options.shadowBans;
    this.#wholeState = options.wholeState;
    this.#noticeInvites = options.noticeInvites;
  }

  /** The stripped state that users who are invited or knock see of a room. */
  strippedStateFor(room: Room, userId: string): Promise<StrippedStateEvent[]> {
    return strippedStateFor(this.#loader, this.#visibility, room, userId);
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
   * @param by `server` where it is not what the user asked for
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

const assertUserId = (userId: string): void => {
  if (!isUserId(userId))
    throw new MatrixError('M_INVALID_PARAM', `${userId} is not a user id, such as @alice:example.org.`);
};
