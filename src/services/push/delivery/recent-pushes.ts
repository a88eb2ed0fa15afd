import type { MentionKind } from '#src/services/events/building/notification-class.ts';
import type { PushRecord } from '#src/storage/push/pushes.ts';

/** Pushes that are remembered. */
const REMEMBERED = 20_000;

/**
 * What says that a user who is in the room is to be told of an event: that it is `unread`, the same for those who hear `all` of the room, or
 * more than that.
 */
export type ToldIf = 'unread' | 'unread-of-all' | 'asked';

/** What is known of an event for all who may be told of it. */
export interface PushFacts {
  readonly toldIf: ToldIf;
  /** Whether it is in the main timeline for certain. */
  readonly isInMain: boolean;
  /** For whom it is something else than its class says, by the numbers of users. */
  readonly exceptions: ReadonlyMap<number, MentionKind>;
}

/** A push that was put into the log a short while ago. */
export interface RecentPush extends PushRecord, PushFacts {}

/** The newest pushes, a few numbers each: what waits for those who are behind is found here, and only what is older is read from the log. */
export class RecentPushes {
  #log: RecentPush[] = [];
  readonly #byRoom = new Map<number, RecentPush[]>();
  readonly #byUser = new Map<number, RecentPush[]>();
  #floor = 0;
  #isMissingSome = false;

  /** @param floor a place: what comes after it will be added */
  open(floor: number): void {
    this.#floor = floor;
  }

  /** Every push after this place is remembered. */
  get floor(): number {
    return this.#isMissingSome ? Infinity : this.#floor;
  }

  /** Says that pushes may have been put at the end of the log that are not added: only what comes after the next one is remembered whole. */
  miss(): void {
    this.#isMissingSome = true;
  }

  add(push: RecentPush): void {
    if (this.#isMissingSome) this.#floor = push.pos - 1;
    this.#isMissingSome = false;
    this.#log.push(push);
    this.#index(push);
    // Cut in one go now and then, since all the others have to be looked at.
    if (this.#log.length < 2 * REMEMBERED) return;
    this.#floor = Math.max(this.#log[REMEMBERED - 1]?.pos ?? 0, this.#floor);
    this.#log = this.#log.slice(REMEMBERED);
    this.#byRoom.clear();
    this.#byUser.clear();
    for (const kept of this.#log) this.#index(kept);
  }

  /** Rooms with pushes after a place, by their numbers. */
  roomsAfter(position: number): number[] {
    return [...this.#byRoom].flatMap(([room, pushes]) => ((pushes.at(-1)?.pos ?? 0) > position ? [room] : []));
  }

  /** Pushes of a room with `after` < place <= `upTo`, in order. */
  ofRoom(room: number, after: number, upTo: number): Iterable<RecentPush> {
    return between(this.#byRoom.get(room) ?? [], after, upTo);
  }

  /** The same that say that something else is unread for a user. */
  ofUser(user: number, after: number, upTo: number): Iterable<RecentPush> {
    return between(this.#byUser.get(user) ?? [], after, upTo);
  }

  #index(push: RecentPush): void {
    const [index, key] = push.room === null ? [this.#byUser, push.user_nid] : [this.#byRoom, push.room];
    if (key === null) return;
    const known = index.get(key);
    if (known === undefined) index.set(key, [push]);
    else known.push(push);
  }
}

function* between(pushes: readonly RecentPush[], after: number, upTo: number): Generator<RecentPush> {
  let start = 0;
  for (let end = pushes.length; start < end;) {
    const middle = (start + end) >>> 1;
    if ((pushes[middle]?.pos ?? 0) <= after) start = middle + 1;
    else end = middle;
  }
  for (let at = start; at < pushes.length; at++) {
    const push = pushes[at];
    if (push === undefined || push.pos > upTo) return;
    yield push;
  }
}
