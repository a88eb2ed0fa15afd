import type { Clock } from '#src/kernel/clock.ts';
import { EVENT_FLAGS, HIDDEN_FLAGS } from '#src/protocol/events/event-flags.ts';
import { StepBudget } from '#src/protocol/matching/step-budget.ts';
import { MENTION_KINDS, type MentionKind } from '#src/services/events/building/notification-class.ts';
import type { EventService } from '#src/services/events/stream/event-service.ts';
import { verdictFor } from '#src/services/push/notifications/notification-actions.ts';
import type { PusherRef } from '#src/services/push/pushers/pusher-registry.ts';
import type { ReceiptService } from '#src/services/push/receipts/receipt-service.ts';
import { hasRead, threadOf } from '#src/services/push/receipts/threads.ts';
import type { PushRuleService } from '#src/services/push/rules/push-rule-service.ts';
import type { UserRules } from '#src/services/push/rules/user-rules.ts';
import type { UnreadCounts } from '#src/services/push/unread/unread-counts.ts';
import { classOfFlags } from '#src/services/push/unread/unread-state.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { IgnoredUsers } from '#src/services/user-data/account-data/ignored-users.ts';
import type { InvitePermission } from '#src/services/user-data/account-data/invite-permission.ts';
import type { NextPush } from './pending-pushes.ts';
import type { PushFacts, SettledUpTo } from './recent-pushes.ts';

/** Steps that the evaluation of a user's rules may take for one event. */
const MAX_STEPS = 500_000;

/** Whether an event certainly need not be pushed to a user any more. */
export type IsSettled = (nid: number, facts: Pick<PushFacts, 'pushScope' | 'isInMain'>) => boolean;

export interface PushRelevanceOptions {
  readonly events: EventService;
  readonly pushRules: PushRuleService;
  readonly ignoredUsers: IgnoredUsers;
  readonly invitePermission: InvitePermission;
  readonly receipts: ReceiptService;
  readonly unread: UnreadCounts;
  readonly clock: Clock;
  /** Milliseconds that a user has to read an event before it is pushed. */
  readonly graceMs: number;
  /** Milliseconds for which sending is retried. */
  readonly retryMs: number;
}

/** Decides whether a push still concerns a user when it is sent: events that they have read, and redacted ones, are not pushed. */
export class PushRelevance {
  readonly #options: PushRelevanceOptions;

  constructor(options: PushRelevanceOptions) {
    this.#options = options;
  }

  /** The position up to which no event of a room has to be pushed to a user, apart from mentions, as far as that is known in memory. */
  settledUpTo(room: Room, userId: string): SettledUpTo {
    const { pushRules, unread } = this.#options;
    const upTo = unread.countedFrom(userId, room);
    const rules = pushRules.peek(userId);
    return { unread: upTo, 'unread-of-all': rules !== undefined && hearsAllOf(rules, room) ? upTo : 0, asked: 0 };
  }

  /**
   * Tells for events of a room whether they certainly need not be pushed to a user, from memory alone.
   *
   * @param said the position of each user's last message
   */
  settledIn(room: Room, userId: string, said: ReadonlyMap<string, number> = lastSaidIn(room)): IsSettled {
    const { pushRules, unread } = this.#options;
    const saidAt = said.get(userId) ?? 0;
    const rules = pushRules.peek(userId);
    const hearsAll = rules !== undefined && hearsAllOf(rules, room);
    let isUnread: ((nid: number) => boolean) | undefined;
    let isAsked = false;
    return (nid, { isInMain, pushScope }) => {
      if (pushScope === 'asked' || (pushScope === 'unread-of-all' && !hearsAll)) return false;
      // The sender of a message has read what came before it. For active users nothing else has to be in memory.
      if (isInMain && nid < saidAt) return true;
      if (!isAsked) isUnread = unread.peekUnread(userId, room);
      isAsked = true;
      return isUnread?.(nid) === false;
    };
  }

  /** Whether a push still has to be sent: not if the event was read or redacted, or retrying has taken too long. */
  async isWanted({ userId }: PusherRef, { at, item }: NextPush): Promise<boolean> {
    const { clock, graceMs, ignoredUsers, invitePermission, retryMs, unread } = this.#options;
    if (clock.now() > at - graceMs + retryMs) return false;
    if (item.kind === 'counts') return true;
    const { room, event, exception } = item;
    // Invites to rooms that this server is not in are visible to the invited user alone.
    const isHidden = (event.flags & HIDDEN_FLAGS) !== 0 && (event.flags & EVENT_FLAGS.outOfBand) === 0;
    if (event.redactedBecause !== undefined || isHidden) return false;
    const member = room.member(userId);
    if (member?.membership === 'join')
      return (
        (await unread.isUnread(userId, room, event.nid)) ||
        (event.type === 'm.room.encrypted' && this.#isForClient(userId, room, event, exception))
      );
    if (member?.membership !== 'invite' || member.event !== event.nid) return false;
    if (exception === undefined || exception === MENTION_KINDS.silent) return false;
    if ((await ignoredUsers.of(userId)).has(event.sender)) return false;
    return (await invitePermission.of(userId)).fateOf(event.sender) === 'shown';
  }

  /** Whether an encrypted event is pushed so that the client can decrypt it, although it does not count as unread. MSC4028. */
  async #isForClient(
    userId: string,
    room: Room,
    event: StoredEvent,
    exception: MentionKind | undefined,
  ): Promise<boolean> {
    const { events, ignoredUsers, pushRules, receipts } = this.#options;
    const { since = Infinity } = room.member(userId) ?? {};
    if (!pushRules.defaults.encryptedEvents || since >= event.nid || event.sender === userId) return false;
    if ((await ignoredUsers.of(userId)).has(event.sender)) return false;
    const rules = await pushRules.rulesOf(userId);
    // Events that count as unread were checked as such.
    if (exception === undefined && classOfFlags(event.flags) !== 'none' && hearsAllOf(rules, room)) return false;
    const thread = await threadOf(events, room, event);
    if (hasRead(event, thread, await receipts.readPositions(room, userId))) return false;
    const compiled = pushRules.compiledForPushes(userId, rules);
    return (
      verdictFor(room, event, { userId, displayName: undefined }, compiled, new StepBudget(MAX_STEPS))?.notify === true
    );
  }
}

/** The position of each user's last message in the main timeline, by the events in memory. */
export const lastSaidIn = (room: Room): ReadonlyMap<string, number> => {
  const said = new Map<string, number>();
  for (const event of room.ring.events)
    if (event.relation === undefined && event.type !== 'm.room.member') said.set(event.sender, event.nid);
  return said;
};

/** Whether a user is notified of everything in a room, threads included. */
const hearsAllOf = (rules: UserRules, room: Room): boolean =>
  !rules.asksForThreads && rules.modeIn(room.roomId) === 'all';
