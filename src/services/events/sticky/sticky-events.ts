import { reviewStickyEvents } from '#src/jobs/definitions.ts';
import { requestJob } from '#src/jobs/job-definition.ts';
import type { Clock } from '#src/kernel/clock.ts';
import { Lazy } from '#src/kernel/caches/lazy.ts';
import { OnceByKey } from '#src/kernel/caches/once.ts';
import { limitExceeded } from '#src/protocol/errors/limit-exceeded.ts';
import { MAX_STICKY_MS } from '#src/protocol/events/sticky.ts';
import type { EventDraft } from '#src/services/events/building/event-draft.ts';
import type { FollowUp } from '#src/services/events/building/follow-ups.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { type StickyEntry, StickySet, type StickySnapshot } from '#src/services/room-model/room/sticky-set.ts';
import type { Database } from '#src/storage/database.ts';
import { stickyOfRooms, stickyRooms } from '#src/storage/events/sticky-events.ts';
import { StickyView } from './sticky-view.ts';

/** Default for unexpired sticky events of one sender in one room. */
const MAX_PER_SENDER = 100;
/** For how large a sticky event is taken, in characters: a sender of larger ones has fewer. Those of calls have about 3000. */
const USUAL_SIZE = 10_240;

const NO_STICKY_EVENTS: ReadonlyMap<number, StickyView> = new Map();

export interface StickyEventsOptions {
  readonly database: Database;
  readonly loader: EventLoader;
  readonly clock: Clock;
  /** Unexpired sticky events that a sender may have in a room. */
  readonly maxPerSender?: number | undefined;
}

/**
 * The sticky events of rooms that have not expired (MSC4354). Which rooms have any is known from the first question on, so that all
 * others cost nothing; those of a room are read when they are first asked for, and stay with the room while it is in memory.
 */
export class StickyEvents {
  readonly #database: Database;
  readonly #loader: EventLoader;
  readonly #clock: Clock;
  readonly #maxPerSender: number;
  /** Rooms that may have unexpired sticky events. */
  readonly #rooms = new Set<number>();
  /** What earlier processes left. */
  readonly #earlier = new Lazy(async () => {
    for (const room of await stickyRooms(this.#database, this.#clock.now())) this.#rooms.add(room);
    this.#isStarted = true;
  });
  /** What earlier processes left is known. */
  #isStarted = false;
  readonly #loading = new OnceByKey<Room, void>();
  /** Sticky events on their way, by room and sender. */
  readonly #pending = new Map<string, number>();

  constructor(options: StickyEventsOptions) {
    this.#database = options.database;
    this.#loader = options.loader;
    this.#clock = options.clock;
    this.#maxPerSender = options.maxPerSender ?? MAX_PER_SENDER;
  }

  /** Learns which rooms have sticky events of before this process. The first request does it otherwise. */
  start(): Promise<void> {
    return this.#earlier.get();
  }

  mayHaveAny(room: Room): boolean {
    return !this.#isStarted || this.#rooms.has(room.nid);
  }

  /** The unexpired sticky events of these rooms, as of now; rooms without any are left out. One statement at most, usually none. */
  async forRooms(rooms: readonly Room[]): Promise<ReadonlyMap<number, StickyView>> {
    if (!this.#isStarted) await this.start();
    const wanted = rooms.filter((room) => this.#rooms.has(room.nid));
    if (wanted.length === 0) return NO_STICKY_EVENTS;
    await this.#load(wanted);
    const now = this.#clock.now();
    const views = new Map<number, StickyView>();
    for (const room of wanted) {
      const snapshot = this.#unexpired(room, now);
      if (snapshot !== undefined) views.set(room.nid, new StickyView(snapshot, now));
    }
    return views;
  }

  /** Has soft-failed sticky events judged anew when the room's state changes, where there are any. */
  readonly followUp: FollowUp = ({ room }) => {
    if (!this.#rooms.has(room.nid)) return [];
    // What was not read yet may be anything.
    const isNeeded = room.sticky === undefined || this.#entries(room, this.#clock.now()).some(isSoftFailed);
    return isNeeded ? [requestJob(reviewStickyEvents, { room: room.nid })] : [];
  };

  /** Unexpired sticky events of a room that are hidden as soft-failed. */
  async softFailed(room: Room): Promise<readonly StickyEntry[]> {
    if (!this.#isStarted) await this.start();
    if (!this.#rooms.has(room.nid)) return [];
    await this.#load([room]);
    return this.#entries(room, this.#clock.now()).filter(isSoftFailed);
  }

  /**
   * Admits sticky events of a user, up to the limit for a sender in a room.
   *
   * @returns to be called when the events are written, or will not be
   * @throws MatrixError M_LIMIT_EXCEEDED with `retry_after_ms`: then one of them has expired
   */
  async admit(room: Room, drafts: readonly EventDraft[]): Promise<() => void> {
    const sticky = drafts.filter((draft) => (draft.stickyDurationMs ?? 0) > 0);
    if (sticky.length === 0) return () => undefined;
    await this.#loadAll(room);
    const keys: string[] = [];
    const release = (): void => {
      for (const key of keys.splice(0)) {
        const left = (this.#pending.get(key) ?? 0) - 1;
        if (left > 0) this.#pending.set(key, left);
        else this.#pending.delete(key);
      }
    };
    for (const { sender } of sticky) {
      const key = `${room.nid} ${sender}`;
      const now = this.#clock.now();
      const own = this.#ofSender(room, sender, now);
      if (this.#isTooMuch(own, this.#pending.get(key))) {
        release();
        throw limitExceeded(
          'room.max_sticky_events',
          Math.max(1, Math.min(...own.map((entry) => entry.until - now), MAX_STICKY_MS)),
          `You have ${own.length} sticky events in this room, which is the limit. Wait until one of them expires.`,
        );
      }
      this.#pending.set(key, (this.#pending.get(key) ?? 0) + 1);
      keys.push(key);
    }
    return release;
  }

  /** Whether a sender has reached the limit: further events of theirs are ordinary ones. */
  async isFull(room: Room, sender: string): Promise<boolean> {
    await this.#loadAll(room);
    return this.#isTooMuch(this.#ofSender(room, sender, this.#clock.now()));
  }

  #isTooMuch(own: readonly StickyEntry[], pending = 0): boolean {
    const size = own.reduce((sum, { event }) => sum + event.json.length, 0);
    return own.length + pending >= this.#maxPerSender || size >= this.#maxPerSender * USUAL_SIZE;
  }

  /** Adds a sticky event that was committed just now. */
  committed(room: Room, entry: StickyEntry): void {
    this.#rooms.add(room.nid);
    room.sticky?.add(entry);
  }

  async #loadAll(room: Room): Promise<void> {
    if (!this.#isStarted) await this.start();
    if (this.#rooms.has(room.nid)) await this.#load([room]);
  }

  #ofSender(room: Room, sender: string, now: number): readonly StickyEntry[] {
    if (!this.#rooms.has(room.nid)) return [];
    return this.#entries(room, now).filter((entry) => entry.event.sender === sender);
  }

  #entries(room: Room, now: number): readonly StickyEntry[] {
    const entries = [...(this.#unexpired(room, now)?.entries.values() ?? [])];
    return entries.filter(({ event }) => event.stickyDuration !== undefined);
  }

  /** Undefined when there are none. */
  #unexpired(room: Room, now: number): StickySnapshot | undefined {
    const snapshot = room.sticky?.unexpired(now);
    if (snapshot !== undefined && snapshot.entries.size > 0) return snapshot;
    if (!this.#loading.has(room)) this.#rooms.delete(room.nid);
    return undefined;
  }

  async #load(rooms: readonly Room[]): Promise<void> {
    const missing = rooms.filter((room) => room.sticky === undefined || this.#loading.has(room));
    if (missing.length > 0) await this.#loading.runAll(missing, (some) => this.#read(some));
  }

  async #read(rooms: readonly Room[]): Promise<void> {
    // What is committed while we read comes in here, and counts more than what was read.
    for (const room of rooms) room.sticky = new StickySet();
    try {
      const byNid = new Map(rooms.map((room) => [room.nid, room]));
      const records = await stickyOfRooms(this.#database, [...byNid.keys()], this.#clock.now());
      const events = await this.#loader.adopt(records, (nid) => byNid.get(nid));
      const found = new Map(events.map((event) => [event.nid, event]));
      for (const { room, nid, pos, expires } of records) {
        const event = found.get(nid);
        if (event !== undefined) byNid.get(room)?.sticky?.addOlder([{ event, pos: pos ?? undefined, until: expires }]);
      }
    } catch (error) {
      for (const room of rooms) room.sticky = undefined;
      throw error;
    }
  }
}

const isSoftFailed = ({ pos }: StickyEntry): boolean => pos === undefined;
