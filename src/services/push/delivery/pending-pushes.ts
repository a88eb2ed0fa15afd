import type { Clock } from '#src/kernel/clock.ts';
import type { DeliverySource, Positioned } from '#src/services/delivery/queue/ports.ts';
import type { MentionKind } from '#src/services/events/building/notification-class.ts';
import type { PusherRef, PusherRegistry } from '#src/services/push/pushers/pusher-registry.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';

/** What a pusher is told of: an event, or that something else is unread than it was told. */
export type PushItem =
  | {
      readonly kind: 'event';
      readonly room: Room;
      readonly event: StoredEvent;
      /** What it is for the user, where that is not what its class says. */
      readonly exception: MentionKind | undefined;
    }
  | { readonly kind: 'counts' };

/** Something that waits to be told. */
export interface PendingPush {
  /** Its place among all pushes. */
  readonly position: number;
  /** From when on it is told, in milliseconds: it may be read until then. */
  readonly at: number;
  readonly item: PushItem;
}

interface Pending {
  entries: PendingPush[];
  /** Something that waits is not in `entries`: all up to `scanned` was looked at, and what follows is read from the database. */
  gap: { scanned: number; readonly isRecorded: boolean } | undefined;
  /** What comes meanwhile is kept, since the database is being read. */
  isReading: boolean;
  /** More came meanwhile than is kept. */
  hasOverflown: boolean;
}

/** Pushes that are kept in memory for one pusher. */
const MAX_ENTRIES = 64;
/** Pushes that are read at once; what is behind them was read by the user, or else one of them would be told: there may be much of it. */
const PAGE = 64;
const LONG_PAGE = 1_024;

export interface PendingPushesOptions {
  readonly registry: PusherRegistry;
  readonly clock: Clock;
  /** Whether a pusher is still to be told. */
  readonly isWanted: (pusher: PusherRef, push: PendingPush) => Promise<boolean>;
  /** Reads what may concern the user of a pusher with `after` < place <= `upTo`, in order. */
  readonly read: (pusher: PusherRef, after: number, upTo: number, limit: number) => Promise<readonly PendingPush[]>;
  /** Hears that a pusher of which the database says that something waits has been told all, up to a place. */
  readonly caughtUp: (destination: string, position: number) => Promise<void>;
}

/**
 * What waits for each pusher. The newest lies in memory; a pusher whose gateway cannot be reached, or that is slow, is told the rest from
 * the database when its turn comes. Nothing is kept of those for whom nothing waits.
 */
export class PendingPushes implements DeliverySource<PushItem> {
  readonly #options: PendingPushesOptions;
  readonly #pending = new Map<string, Pending>();

  constructor(options: PendingPushesOptions) {
    this.#options = options;
  }

  /** For how many pushers something waits. */
  get size(): number {
    return this.#pending.size;
  }

  /** @returns whether it is kept in memory; where it is not, it is found in the database when the turn of what came before it comes */
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

  /** Whether the database says that something waits for a pusher, and it need not be told here. */
  isAway(destination: string): boolean {
    const pending = this.#pending.get(destination);
    return pending?.gap?.isRecorded === true && !pending.isReading;
  }

  /**
   * Whether what comes for a pusher is kept in memory: nothing has to be read from the log first, or it is being read, and it is not so much
   * that came meanwhile that it has to be read again.
   */
  takes(destination: string): boolean {
    const pending = this.#pending.get(destination);
    return pending?.gap === undefined || (pending.isReading && !pending.hasOverflown);
  }

  /** Whether something may wait for a pusher that is not in memory. */
  isBehind(destination: string): boolean {
    return this.#pending.get(destination)?.gap !== undefined;
  }

  /** Says that the database says by now that something waits for a pusher, after a place. */
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

  /** Up to which place everything was told, or stands in the database as waiting. @param newest the place of the newest push */
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
        // What follows is told when this is done.
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

  async #fromMemory(pusher: PusherRef, pending: Pending, done: number, upTo: number): Promise<PendingPush | undefined> {
    const { clock, isWanted } = this.#options;
    for (let first = pending.entries[0]; first !== undefined; first = pending.entries[0]) {
      if (first.position > upTo) return undefined;
      if (first.position > done) {
        if (first.at > clock.now()) return undefined;
        if (await isWanted(pusher, first)) return first;
      }
      if (pending.entries[0] === first) pending.entries.shift();
    }
    return undefined;
  }

  /** Looks through what the database has until something is found that is to be told. Where nothing more is, the gap is closed. */
  async #fromDatabase(
    pusher: PusherRef,
    pending: Pending,
    gap: NonNullable<Pending['gap']>,
    done: number,
    upTo: number,
  ): Promise<PendingPush | undefined> {
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
