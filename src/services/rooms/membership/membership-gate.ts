import type { AppserviceCaller } from '#src/services/accounts/sessions/requester.ts';
import type { RateLimiter } from '#src/kernel/limits/rate-limiter.ts';
import { limitExceeded } from '#src/protocol/errors/limit-exceeded.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { contentFault } from '#src/protocol/content/content-rules.ts';
import { domainOf } from '#src/protocol/identifiers/server-name.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { MEMBER } from '#src/protocol/events/event-types.ts';
import { guestsForbidden, userSuspended } from '#src/services/accounts/admission/access-rules.ts';
import { takeTokens } from '#src/services/accounts/admission/rate-limits.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { type Membership, membershipIn } from '#src/services/room-model/room/membership.ts';
import type { PolicyGate } from '#src/services/policy/gate/policy-gate.ts';
import type { InvitePermission } from '#src/services/user-data/account-data/invite-permission.ts';
import type { ClosedRooms } from './closed-rooms.ts';
import { assertGuestsMayJoin } from './guest-rules.ts';
import type { JoinedRoomsQuota } from './joined-rooms-quota.ts';
import type { NoticeInvites } from './notice-invites.ts';
import type { RestrictedJoins } from './restricted-joins.ts';
import type { StateGrowth } from './state-growth.ts';

/** The group of `rate_limits` that counts what a user's joins bring here from other servers. */
export const JOINED_STATE_BYTES = 'joined_state_bytes';

/** A user of this server who changes a membership: their own or another user's. */
export interface Actor {
  readonly userId: string;
  readonly isGuest?: boolean | undefined;
  readonly isSuspended?: boolean | undefined;
  /** False for users who are exempt from rate limits. */
  readonly rateLimited?: boolean | undefined;
  readonly appservice?: AppserviceCaller | undefined;
}

/** A member event that a user wants to send. */
export interface MembershipChange {
  /** Whose membership it is: the state key. */
  readonly target: string;
  readonly content: JsonObject;
  /** An invite that is sent together with the join allows it. */
  readonly isInvited?: boolean;
  /** Its token was taken when the request came in. */
  readonly isCounted?: boolean;
  /** The room id, for a room that this server is not in. */
  readonly roomId?: string;
}

/** A member event that this server's own rules allow. */
export type Admitted = Pick<MembershipChange, 'target' | 'content'>;

export interface MembershipGateOptions {
  readonly serverName: string;
  readonly isLocal: (userId: string) => boolean;
  readonly closed: Pick<ClosedRooms, 'assertOpen'>;
  readonly restricted: RestrictedJoins;
  readonly rateLimiter: RateLimiter;
  readonly growth: StateGrowth;
  /** Without it, every user may be invited. */
  readonly invitePermission?: InvitePermission | undefined;
  /** Whether another server can be told of invites of its users. */
  readonly talksTo: (serverName: string) => boolean;
  /** Without it users may be in any number of rooms. */
  readonly joinedRooms?: JoinedRoomsQuota | undefined;
  readonly policy: PolicyGate;
  readonly noticeInvites: NoticeInvites;
  /** Whether two users are in a common room. */
  readonly sharesRoom: (one: string, other: string) => Promise<boolean>;
}

/**
 * Checks every member event that a user of this server sends, whichever way it comes: by the endpoints of memberships, as state over HTTP or the
 * WebSocket, with a new room, or delayed. The authorization rules come after it.
 */
export class MembershipGate {
  readonly #options: MembershipGateOptions;

  constructor(options: MembershipGateOptions) {
    this.#options = options;
  }

  /**
   * @param room undefined for a room that is about to be made
   * @returns the content that may be sent
   * @throws MatrixError M_BAD_JSON, M_USER_SUSPENDED, M_GUEST_ACCESS_FORBIDDEN, M_INVITE_BLOCKED, M_LIMIT_EXCEEDED, M_TOO_LARGE; M_FORBIDDEN and
   *   M_UNABLE_TO_GRANT_JOIN for restricted joins that no user of this server can authorise
   */
  async admit(room: Room | undefined, actor: Actor, change: MembershipChange): Promise<JsonObject> {
    const [admitted] = await this.admitAll(room, actor, [change]);
    return admitted?.content ?? {};
  }

  /** The same for several changes, in the same order; all are admitted or none. */
  async admitAll(
    room: Room | undefined,
    actor: Actor,
    changes: readonly MembershipChange[],
  ): Promise<readonly Admitted[]> {
    const { growth, noticeInvites, rateLimiter } = this.#options;
    for (const change of changes) this.#assertAllowed(room, actor, change);
    const leaves = changes.some(({ content, target }) => target === actor.userId && membershipIn(content) === 'leave');
    if (room !== undefined && leaves) await noticeInvites.assertMayLeave(room, actor.userId);
    const counted = changes.filter(({ isCounted }) => isCounted !== true);
    const count = (bucket: string): number =>
      counted.filter((change) => bucketOf(room, actor, change) === bucket).length;
    for (const bucket of BUCKETS) takeTokens(rateLimiter, bucket, actor, count(bucket));
    await growth.admitMemberships(actor, room, changes);
    await this.#assertInvitable(
      actor,
      changes.filter(({ content }) => membershipIn(content) === 'invite'),
    );
    await this.#assertPolicy(room, actor, changes);
    // The creator of a room is in it.
    const comes = room === undefined || changes.some((change) => isComing(room, actor, change));
    if (actor.rateLimited !== false && comes) await this.#options.joinedRooms?.take(actor.userId);
    return Promise.all(
      changes.map(async (change) => ({ target: change.target, content: await this.#contentOf(room, actor, change) })),
    );
  }

  /** Whether a user may have another room of other servers brought here, by joining it. @throws MatrixError M_LIMIT_EXCEEDED */
  assertMayBring({ userId, rateLimited }: Pick<Actor, 'userId' | 'rateLimited'>): void {
    const verdict = this.#options.rateLimiter.check(JOINED_STATE_BYTES, userId);
    if (!verdict.ok && rateLimited !== false) throw limitExceeded(JOINED_STATE_BYTES, verdict.retryAfterMs);
  }

  #assertAllowed(room: Room | undefined, { userId, isGuest, isSuspended }: Actor, change: MembershipChange): void {
    const { isLocal, serverName, talksTo } = this.#options;
    const { content, target } = change;
    const fault = contentFault({ type: MEMBER, stateKey: target, content }, { serverName, roomId: room?.roomId });
    if (fault !== undefined) throw new MatrixError('M_BAD_JSON', fault);
    const membership = membershipIn(content);
    const isOwn = target === userId;
    // "leave any room they are joined to or invited to": all else others would see. Client-Server API, "Account suspension".
    if (isSuspended === true && !(isOwn && membership === 'leave')) throw userSuspended();
    if (isGuest === true) {
      // Guests come, go, and have a name: Client-Server API, "Guest Access", lists no endpoint for anything else.
      if (!isOwn || (membership !== 'join' && membership !== 'leave')) throw guestsForbidden();
      if (room !== undefined && membership === 'join' && !room.isJoined(userId)) assertGuestsMayJoin(room);
    }
    if (room !== undefined && opens(room, target, membership)) this.#options.closed.assertOpen(room.roomId);
    if (membership === 'invite' && !isLocal(target) && !talksTo(domainOf(target) ?? '')) throw notTalkedTo(target);
  }

  async #assertInvitable({ userId }: Actor, invites: readonly MembershipChange[]): Promise<void> {
    const { invitePermission } = this.#options;
    if (invitePermission === undefined) return;
    const targets = new Set(invites.map(({ target }) => target));
    await Promise.all([...targets].map((target) => invitePermission.assertInvitable(target, userId)));
  }

  /** A room that is about to be made has no id yet: `mayInvite` is asked about its invites when it has one. */
  async #assertPolicy(room: Room | undefined, actor: Actor, changes: readonly MembershipChange[]): Promise<void> {
    for (const change of changes) {
      const roomId = room?.roomId ?? change.roomId;
      if (roomId === undefined) continue;
      if (membershipIn(change.content) === 'invite') await this.mayInvite(actor, change.target, roomId);
      else if (isComing(room, actor, change))
        await this.#options.policy.mayJoin(
          actor.userId,
          roomId,
          change.isInvited === true || room?.headMembership(actor.userId) === 'invite',
        );
    }
  }

  /** Whether the policy of this server lets a user invite another one. @throws PolicyRefusal; MatrixError M_LIMIT_EXCEEDED */
  mayInvite({ userId: inviter }: Pick<Actor, 'userId'>, invitee: string, roomId: string): Promise<void> {
    const { policy, sharesRoom } = this.#options;
    return policy.mayInvite({ inviter, invitee, roomId, sharesRoom: () => sharesRoom(inviter, invitee) });
  }

  async #contentOf(room: Room | undefined, actor: Actor, change: MembershipChange): Promise<JsonObject> {
    // Only this server sets it: it says that this server authorised the join.
    const { join_authorised_via_users_server: _claimed, ...content } = change.content;
    const { isInvited, target } = change;
    const before = room?.headMembership(target);
    const needsWord = isComing(room, actor, change) && isInvited !== true && before !== 'invite' && before !== 'ban';
    if (room === undefined || !needsWord) return content;
    const authorisedBy = await this.#options.restricted.authorise(room, target);
    return authorisedBy === undefined ? content : { ...content, join_authorised_via_users_server: authorisedBy };
  }
}

/** Whether this is a join of a user who is not in the room yet. */
const isComing = (room: Room | undefined, { userId }: Actor, { content, target }: MembershipChange): boolean =>
  target === userId && membershipIn(content) === 'join' && room?.headMembership(target) !== 'join';

/** Whether a membership gives access to a room, or is a step towards it. */
const opens = (room: Room, target: string, membership: Membership): boolean =>
  membership === 'invite' ||
  membership === 'knock' ||
  (membership === 'join' && room.headMembership(target) !== 'join');

const BUCKETS = ['invite', 'join'] as const;

/** The rate limit of the endpoint of such a change. */
const bucketOf = (
  room: Room | undefined,
  { userId }: Actor,
  { content, target }: MembershipChange,
): (typeof BUCKETS)[number] | undefined => {
  const membership: Membership = membershipIn(content);
  if (membership === 'invite') return 'invite';
  // The creator of a room is in it, and members may change their names at any time.
  const isComing = target === userId && room !== undefined && room.headMembership(userId) !== 'join';
  return isComing && (membership === 'join' || membership === 'knock') ? 'join' : undefined;
};

const notTalkedTo = (target: string): MatrixError =>
  new MatrixError('M_FORBIDDEN', `${target} belongs to a server that this one does not federate with.`);
