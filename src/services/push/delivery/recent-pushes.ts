import { firstIndex } from '#src/kernel/first-index.ts';
import type { MentionKind } from '#src/services/events/building/notification-class.ts';
import type { PushRecord } from '#src/storage/push/pushes.ts';

/** Pushes that are kept in memory, and users whom those notify otherwise than others: a message may name a thousand. */
const REMEMBERED = 20_000;
const EXCEPTIONS = 200_000;

/**
 * On what it depends whether an event is pushed to a member: that it is `unread`; that it is unread, for members who are notified of everything
 * (`unread-of-all`); or on their rules (`asked`).
 */
export type PushScope = (typeof PUSH_SCOPES)[number];
const PUSH_SCOPES = ['unread', 'unread-of-all', 'asked'] as const;

/** By that, the position up to which no event has to be pushed to a user, apart from exceptions. */
export type SettledUpTo = Readonly<Record<PushScope, number>>;

/** What applies to all recipients of an event. */
export interface PushFacts {
  readonly pushScope: PushScope;
  /** Whether it certainly is in the main timeline. */
  readonly isInMain: boolean;
  /** Users whom it notifies otherwise than its class says, by their numbers. */
  readonly exceptions: ReadonlyMap<number, MentionKind>;
}

/** Pushes of a room, in order: first by what those depend on that are in the order of their events, too, and mean the same for everybody. */
type RoomPushes = Readonly<Record<PushScope | 'others', RecentPush[]>>;

/** A push that was appended to the log recently. */
export interface RecentPush extends PushRecord, PushFacts {}

/** The newest pushes in memory, a few numbers each. Pushers that are behind find theirs here; only older ones are read from the log. */
export class RecentPushes {
  #log: RecentPush[] = [];
  #exceptions = 0;
  readonly #byRoom = new Map<number, RoomPushes>();
  readonly #byUser = new Map<number, RecentPush[]>();
  #floor = 0;
  #isMissingSome = false;

  /** @param floor a place: all pushes after it will be added */
  open(floor: number): void {
    this.#floor = floor;
  }

  /** Every push after this place is in memory. */
  get floor(): number {
    return this.#isMissingSome ? Infinity : this.#floor;
  }

  /** Says that the log may have new pushes that are not added: only those from the next one on are complete in memory. */
  miss(): void {
    this.#isMissingSome = true;
  }

  add(push: RecentPush): void {
    if (this.#isMissingSome) this.#floor = push.pos - 1;
    this.#isMissingSome = false;
    this.#log.push(push);
    this.#exceptions += push.exceptions.size;
    this.#index(push);
    // Cut in large steps, since all remaining ones have to be indexed again.
    if (this.#log.length < 2 * REMEMBERED && this.#exceptions < 2 * EXCEPTIONS) return;
    let exceptions = 0;
    let first = this.#log.length;
    while (first > Math.max(this.#log.length - REMEMBERED, 0)) {
      exceptions += this.#log[first - 1]?.exceptions.size ?? 0;
      if (exceptions > EXCEPTIONS) break;
      first -= 1;
    }
    this.#floor = Math.max(this.#log[first - 1]?.pos ?? 0, this.#floor);
    this.#log = this.#log.slice(first);
    this.#exceptions = this.#log.reduce((sum, kept) => sum + kept.exceptions.size, 0);
    this.#byRoom.clear();
    this.#byUser.clear();
    for (const kept of this.#log) this.#index(kept);
  }

  /** Rooms with pushes after a place, by their numbers. */
  roomsAfter(position: number): number[] {
    const isAfter = (pushes: readonly RecentPush[]): boolean => (pushes.at(-1)?.pos ?? 0) > position;
    return [...this.#byRoom].flatMap(([room, kinds]) => (Object.values(kinds).some(isAfter) ? [room] : []));
  }

  /**
   * Pushes of a room with `after` < place <= `upTo`, in several sorted lists. Those that are settled by the position of their event are skipped
   * without being looked at.
   */
  ofRoom(room: number, after: number, upTo: number, settled?: SettledUpTo): readonly Iterable<RecentPush>[] {
    const kinds = this.#byRoom.get(room);
    if (kinds === undefined) return [];
    return [
      ...PUSH_SCOPES.map((pushScope) => between(kinds[pushScope], after, upTo, settled?.[pushScope])),
      between(kinds.others, after, upTo),
    ];
  }

  /** The same for changed unread counts of a user. */
  ofUser(user: number, after: number, upTo: number): Iterable<RecentPush> {
    return between(this.#byUser.get(user) ?? [], after, upTo);
  }

  #index(push: RecentPush): void {
    if (push.room === null) {
      if (push.user_nid === null) return;
      const known = this.#byUser.get(push.user_nid);
      if (known === undefined) this.#byUser.set(push.user_nid, [push]);
      else known.push(push);
      return;
    }
    let kinds = this.#byRoom.get(push.room);
    if (kinds === undefined) {
      kinds = { unread: [], 'unread-of-all': [], asked: [], others: [] };
      this.#byRoom.set(push.room, kinds);
    }
    const alike = kinds[push.pushScope];
    const isInOrder = (push.event ?? 0) > (alike.at(-1)?.event ?? 0);
    (isInOrder && push.exceptions.size === 0 ? alike : kinds.others).push(push);
  }
}

/** @param afterEvent where they are in the order of their events, too: those of events up to this position are left out */
function* between(pushes: readonly RecentPush[], after: number, upTo: number, afterEvent = 0): Generator<RecentPush> {
  const start = firstIndex(pushes.length, (index) => {
    const push = pushes[index];
    return push !== undefined && (push.pos <= after || (push.event ?? Infinity) <= afterEvent);
  });
  for (let at = start; at < pushes.length; at++) {
    const push = pushes[at];
    if (push === undefined || push.pos > upTo) return;
    yield push;
  }
}
