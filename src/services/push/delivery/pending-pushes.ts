import type { Clock } from '#src/kernel/clock.ts';
import type { DeliverySource, Positioned } from '#src/services/delivery/queue/ports.ts';
import type { MentionKind } from '#src/services/events/building/notification-class.ts';
import type { PusherRef, PusherRegistry } from '#src/services/push/pushers/pusher-registry.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';

/** What a pusher is sent: an event, or a changed unread count. */
export type PushItem =
  | {
      readonly kind: 'event';
      readonly room: Room;
      readonly event: StoredEvent;
      /** How it notifies the user, where that differs from its class. */
      readonly exception: MentionKind | undefined;
    }
  | { readonly kind: 'counts' };

/** What is kept of it while it waits, which may take long: numbers, so that no room and no event is kept for it. */
export type PendingItem =
  | {
      readonly kind: 'event';
      readonly room: number;
      readonly event: number;
      readonly exception: MentionKind | undefined;
    }
  | { readonly kind: 'counts' };

/** A push with its place and time. */
interface Push<I> {
  /** Its place among all pushes. */
  readonly position: number;
  /** When it is due, in milliseconds since the epoch. The user may read the event until then. */
  readonly at: number;
  readonly item: I;
}

/** A push that waits to be sent. */
export type PendingPush = Push<PendingItem>;

/** A push that is sent next, if it still has to be. */
export type NextPush = Push<PushItem>;

interface Pending {
  entries: PendingPush[];
  /** Some pushes are not in `entries`: those up to `scanned` were checked, and those after it are read from the database. */
  gap: { scanned: number; readonly isRecorded: boolean } | undefined;
  /** The database is being read: new pushes are kept in `entries` meanwhile. */
  isReading: boolean;
  /** More pushes came meanwhile than `entries` takes. */
  hasOverflown: boolean;
}

/** Pushes that are kept in memory for one pusher. */
export const MAX_ENTRIES = 64;
/** Pushes in one page. After a page of which the user has read everything, pages are longer: there may be many of that kind. */
const PAGE = 64;
const LONG_PAGE = 1_024;

export interface PendingPushesOptions {
  readonly registry: PusherRegistry;
  readonly clock: Clock;
  /** Whether a push still has to be sent. */
  readonly isWanted: (pusher: PusherRef, push: NextPush) => Promise<boolean>;
  /** Room and event of a push; undefined when they are not there any more. Usually from memory. */
  readonly load: (push: PendingPush) => NextPush | Promise<NextPush | undefined>;
  /** Reads pushes with `after` < place <= `upTo` that may concern the user of a pusher, in order. */
  readonly read: (pusher: PusherRef, after: number, upTo: number, limit: number) => Promise<readonly NextPush[]>;
  /** Called when a pusher that is marked as waiting in the database has received everything up to a place. */
  readonly caughtUp: (destination: string, position: number) => Promise<void>;
}

/**
 * The pushes that wait for each pusher. The newest are in memory; where a gateway cannot be reached or is slow, the others are read from the
 * database when its turn comes. A pusher without waiting pushes takes no memory.
 */
export class PendingPushes implements DeliverySource<PushItem> {
  readonly #options: PendingPushesOptions;
  readonly #pending = new Map<string, Pending>();

  constructor(options: PendingPushesOptions) {
    this.#options = options;
  }

  /** Number of pushers with waiting pushes. */
  get size(): number {
    return this.#pending.size;
  }

  /** @returns whether it is kept in memory; otherwise it is read from the database after the pushes before it */
  add(destination: string, push: PendingPush): boolean {
    let pending = this.#pending.get(destination);
    if (pending === undefined) {
      pending = { entries: [], gap: undefined, isReading: false, hasOverflown: false };
      this.#pending.set(destination, pending);
    }
    if (pending.gap !== undefined && !pending.isReading) return false;
    if (pending.entries.length < MAX_ENTRIES) {
      pending.entries.push(push);
      return true;
    }
    if (pending.gap === undefined) {
      const first = pending.entries[0]?.position ?? push.position;
      pending.gap = { scanned: first - 1, isRecorded: false };
    } else {
      pending.hasOverflown = true;
    }
    pending.entries = [];
    return false;
  }

  /** Whether a pusher is marked as waiting in the database, so that new pushes need not be added here. */
  isAway(destination: string): boolean {
    const pending = this.#pending.get(destination);
    return pending?.gap?.isRecorded === true && !pending.isReading;
  }

  /**
   * Whether a new push for a pusher would be kept in memory: nothing has to be read from the log first, or it is being read, and not more came
   * meanwhile than is kept.
   */
  takes(destination: string): boolean {
    const pending = this.#pending.get(destination);
    return pending?.gap === undefined || (pending.isReading && !pending.hasOverflown);
  }

  /** Whether pushes may wait for a pusher that are not in memory. */
  isBehind(destination: string): boolean {
    return this.#pending.get(destination)?.gap !== undefined;
  }

  /** Notes that a pusher is marked in the database as waiting for what comes after a place. */
  fallBehind(destination: string, position: number): void {
    this.#pending.set(destination, {
      entries: [],
      gap: { scanned: position, isRecorded: true },
      isReading: false,
      hasOverflown: false,
    });
  }

  forget(destination: string): void {
    this.#pending.delete(destination);
  }

  /** The place up to which everything was sent, or is marked in the database as waiting. @param newest the place of the newest push */
  doneUpTo(newest: number): number {
    let done = newest;
    for (const { entries, gap } of this.#pending.values()) {
      if (gap !== undefined) {
        if (!gap.isRecorded) done = Math.min(done, gap.scanned);
      } else if (entries[0] !== undefined) {
        done = Math.min(done, entries[0].position - 1);
      }
    }
    return done;
  }

  async behind(after: string, limit: number): Promise<readonly string[]> {
    return [...this.#pending.keys()]
      .filter((destination) => destination > after)
      .toSorted()
      .slice(0, limit);
  }

  async next(
    destination: string,
    after: number,
    _limit: number,
    upTo = Infinity,
  ): Promise<readonly Positioned<PushItem>[]> {
    const pusher = this.#options.registry.byDestination(destination);
    const pending = this.#pending.get(destination);
    if (pusher?.enabled !== true) this.forget(destination);
    if (pusher?.enabled !== true || pending === undefined) return [];
    let done = Math.max(after, pusher.since);
    let wasRecorded = false;
    do {
      const { gap } = pending;
      if (gap !== undefined) {
        const push = await this.#fromDatabase(pusher, pending, gap, done, upTo);
        if (push !== undefined) return [push];
        done = Math.max(done, gap.scanned);
        // Later pushes are sent once this one is done.
        if (upTo !== Infinity) return [];
        wasRecorded ||= gap.isRecorded;
      }
      const push = await this.#fromMemory(pusher, pending, done, upTo);
      if (push !== undefined) return [push];
    } while (pending.gap !== undefined);
    if (pending.entries.length === 0 && this.#pending.get(destination) === pending) this.#pending.delete(destination);
    if (wasRecorded) await this.#options.caughtUp(destination, done);
    return [];
  }

  async #fromMemory(pusher: PusherRef, pending: Pending, done: number, upTo: number): Promise<NextPush | undefined> {
    const { clock, isWanted, load } = this.#options;
    for (let first = pending.entries[0]; first !== undefined; first = pending.entries[0]) {
      if (first.position > upTo) return undefined;
      if (first.position > done) {
        if (first.at > clock.now()) return undefined;
        const push = await load(first);
        if (push !== undefined && (await isWanted(pusher, push))) return push;
      }
      if (pending.entries[0] === first) pending.entries.shift();
    }
    return undefined;
  }

  /** Reads the database until a push is found that still has to be sent. At the end of the log, the gap is closed. */
  async #fromDatabase(
    pusher: PusherRef,
    pending: Pending,
    gap: NonNullable<Pending['gap']>,
    done: number,
    upTo: number,
  ): Promise<NextPush | undefined> {
    const { isWanted, read } = this.#options;
    for (let limit = PAGE; ; limit = LONG_PAGE) {
      Object.assign(pending, { entries: [], isReading: true, hasOverflown: false });
      const page = await read(pusher, Math.max(done, gap.scanned), upTo, limit);
      for (const push of page) {
        if (await isWanted(pusher, push)) {
          gap.scanned = push.position - 1;
          Object.assign(pending, { entries: [], isReading: false });
          return push;
        }
        gap.scanned = push.position;
      }
      if (page.length === limit || (pending.hasOverflown && upTo === Infinity)) continue;
      pending.isReading = false;
      if (upTo === Infinity) pending.gap = undefined;
      else pending.entries = [];
      return undefined;
    }
  }
}
