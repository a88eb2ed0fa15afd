import { EVENT_FLAGS, HIDDEN_FLAGS } from '#src/protocol/events/event-flags.ts';
import { Background } from '#src/kernel/concurrency/background.ts';
import type { Clock } from '#src/kernel/clock.ts';
import type { Logger } from '#src/kernel/logger.ts';
import type { Metrics } from '#src/kernel/metrics.ts';
import type { Timer, Timers } from '#src/kernel/timers.ts';
import { covers, SHARDS, shardOfPosition } from '#src/protocol/wire/position.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Writer } from '#src/services/commit/writer.ts';
import type { Database } from '#src/storage/database.ts';
import { eventsAfter, type FollowerCursor, roomsBehind } from '#src/storage/events/event-followers.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import { EventsSetAside } from './events-set-aside.ts';
import type { FollowedEvent } from './followed-event.ts';
import { FollowerCursors } from './follower-cursors.ts';
import { measureFollowerLag, positionsBehind } from './follower-metrics.ts';
import type { RoomEventStream } from './room-event-stream.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';

const RETRY_MS = 1_000;
/** How long the cursor may stay unwritten while only events pass that do not concern the follower. */
const UNSAVED_MS = 60_000;
const ROOMS_AT_ONCE = 100;

export interface EventFollowerOptions {
  readonly database: Database;
  readonly interner: Interner;
  readonly rooms: RoomRegistry;
  readonly loader: EventLoader;
  readonly writer: Writer;
  readonly stream: RoomEventStream;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** The name of its cursor. */
  readonly name: string;
  /** The types of events that it processes; all when left out. */
  readonly types?: readonly string[];
  /** Beside these types, it processes every event whose JSON contains this text. */
  readonly containing?: string | undefined;
  /** Whether it processes events of a room at all; asked often. All rooms when left out. */
  readonly wantsRoom?: (room: Room) => boolean;
  /** Whether it processes memberships of rooms that this server is not in, too: invites of its users. */
  readonly takesOutOfBand?: boolean;
  /** True: it does not process what was committed before it existed. */
  readonly startsNow?: boolean;
  /**
   * Processes events, those of a room in order. Gets some of them again after a failure or a crash, so it has to be idempotent. An event at which
   * it fails comes again later, and does not hold up the others.
   */
  readonly take: (events: readonly FollowedEvent[]) => Promise<void>;
  /** Milliseconds for which events are gathered; default 200. */
  readonly lagMs?: number;
  /** Events processed at once; default 500. */
  readonly batchSize?: number;
  /** Events that wait in memory before they are read back from the database; default 20 000. */
  readonly queueLimit?: number;
}

/**
 * Processes committed events after the writer, in batches: what is derived from events is complete a moment later, however
 * the process ends. What was not processed is found by the cursor; events that failed are stored apart (`EventsSetAside`).
 */
export class EventFollower {
  readonly #options: EventFollowerOptions;
  readonly #aside: EventsSetAside;
  readonly #cursors: FollowerCursors;
  readonly #types: ReadonlySet<string> | undefined;
  readonly #lagMs: number;
  readonly #batchSize: number;
  readonly #queueLimit: number;
  #queue: FollowedEvent[] = [];
  /** Position of the newest event heard of, in each shard. */
  #heard: number[] = [];
  /** Events put into the queue, and those of them that were processed, since the process started. */
  #queued = 0;
  #taken = 0;
  readonly #waiting = new Set<{ readonly until: number; readonly done: () => void }>();
  #isBehind = true;
  #isCatchingUp = true;
  #isUnsaved = false;
  #timer: Timer | undefined;
  /** Whether the timer is only to write the cursor. */
  #isPatient = false;
  #retryTimer: Timer | undefined;
  readonly #background: Background;
  #stop: (() => void) | undefined;
  #isClosed = false;

  constructor(options: EventFollowerOptions) {
    this.#options = options;
    this.#aside = new EventsSetAside(options);
    this.#cursors = new FollowerCursors(options.database, options.name);
    options.stream.follow(options.name, (room, event) => this.#wants(room, event));
    this.#types = options.types === undefined ? undefined : new Set(options.types);
    this.#lagMs = options.lagMs ?? 200;
    this.#batchSize = options.batchSize ?? 500;
    this.#queueLimit = options.queueLimit ?? 20_000;
    this.#background = new Background(
      `follower ${options.name}`,
      () => this.#work(),
      (err) => options.logger.error('a follower stopped', { follower: options.name, err }),
    );
    measureFollowerLag(options.metrics, options.name, () => this.lag);
  }

  /** How many events are committed and not processed; while it reads them back, how many positions it is behind. */
  get lag(): number {
    if (!this.#isCatchingUp && !this.#isBehind) return this.#queued - this.#taken;
    const { positions } = this.#cursors;
    return positions.length === 0 ? 0 : positionsBehind(this.#options.writer.committed(), positions);
  }

  /** Begins where the last process ended. To be called once the writer owns its shards. */
  async start(): Promise<void> {
    const { database, startsNow, stream, writer } = this.#options;
    await this.#cursors.start(() => (startsNow === true ? writer.committed() : undefined));
    this.#heard = this.#cursors.positions;
    await this.#aside.start();
    const stopAppended = stream.on('appended', ({ room, events }) => {
      for (const { event } of events) this.#hear(room, event);
    });
    // What is shown late was set aside in the same commit.
    const stopRevealed = stream.on('revealed', () => this.#hearLate());
    const stopRestored = stream.on('restored', () => this.#hearLate());
    const stopLost = database.connectionLost.subscribe(() => {
      this.#cursors.doubt();
      this.#wakeSoon();
    });
    this.#stop = () => {
      stopAppended();
      stopRevealed();
      stopRestored();
      stopLost();
    };
    this.#wake(0);
  }

  /**
   * What comes back resolves when what was committed before the call is processed, or after so many milliseconds. Undefined when it is
   * processed already.
   */
  reached(timeoutMs: number): Promise<void> | undefined {
    if (this.#isClosed || (!this.#isBehind && this.#taken >= this.#queued)) return undefined;
    // A caller waits: no more is gathered.
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#background.wake();
    return new Promise((resolve) => {
      const waiting = {
        until: this.#queued,
        done: (): void => {
          timer.cancel();
          this.#waiting.delete(waiting);
          resolve();
        },
      };
      const timer = this.#options.timers.after(timeoutMs, waiting.done);
      this.#waiting.add(waiting);
    });
  }

  #resolveWaiting(): void {
    if (this.#isBehind) return;
    for (const waiting of this.#waiting) if (this.#taken >= waiting.until) waiting.done();
  }

  get #hasWork(): boolean {
    return this.#isBehind || this.#cursors.isUnsure || this.#queue.length > 0 || this.#aside.retryAt === 0;
  }

  /** Resolves when everything that was committed before the call is processed. */
  async idle(): Promise<void> {
    this.#timer?.cancel();
    this.#timer = undefined;
    while (!this.#isClosed && (this.#background.isRunning || this.#hasWork)) {
      if (!this.#background.isRunning) this.#background.wake();
      await this.#background.idle();
    }
  }

  /** Processes what waits, remembers how far it came, and listens no longer. */
  async close(): Promise<void> {
    this.#stop?.();
    this.#timer?.cancel();
    this.#retryTimer?.cancel();
    this.#isClosed = true;
    await this.#background.close();
    if (this.#cursors.positions.length === 0) return;
    try {
      if (this.#isBehind) return;
      await this.#drain();
      if (this.#isUnsaved) await this.#reach(this.#heard);
    } catch (err) {
      this.#options.logger.warn('a follower could not process everything before the stop; the next process continues', {
        follower: this.#options.name,
        err,
      });
    }
  }

  #hear(room: Room, event: StoredEvent): void {
    this.#heard[shardOfPosition(event.nid)] = event.nid;
    this.#isUnsaved = true;
    if (!this.#wants(room, event) || this.#isHidden(event)) {
      if (this.#options.wantsRoom !== undefined && this.#timer === undefined) this.#wake(UNSAVED_MS);
      return;
    }
    if (this.#queue.length >= this.#queueLimit) {
      this.#taken += this.#queue.length;
      this.#queue = [];
      this.#isBehind = true;
    }
    if (!this.#isBehind) this.#push({ room, event });
    this.#wakeSoon();
  }

  #wants(room: Room, event: StoredEvent): boolean {
    const { containing, wantsRoom } = this.#options;
    const isOfType = this.#types === undefined || this.#types.has(event.type);
    if (!isOfType && (containing === undefined || !event.json.includes(containing))) return false;
    return wantsRoom === undefined || wantsRoom(room);
  }

  #isHidden({ flags }: StoredEvent): boolean {
    const isOutOfBand = (flags & EVENT_FLAGS.outOfBand) !== 0;
    return (flags & HIDDEN_FLAGS) !== 0 && !(isOutOfBand && this.#options.takesOutOfBand === true);
  }

  #hearLate(): undefined {
    this.#aside.expect(0);
    this.#wakeSoon();
    return undefined;
  }

  #push(event: FollowedEvent): void {
    this.#queue.push(event);
    this.#queued += 1;
  }

  #wakeSoon(): void {
    if (this.#timer === undefined || this.#isPatient) this.#wake(this.#lagMs);
  }

  #wake(ms: number): void {
    if (this.#isClosed) return;
    this.#timer?.cancel();
    this.#isPatient = ms > this.#lagMs;
    this.#timer = this.#options.timers.after(ms, () => {
      this.#timer = undefined;
      this.#background.wake();
    });
  }

  #wakeToRetry(): void {
    const { clock, timers } = this.#options;
    const { retryAt } = this.#aside;
    this.#retryTimer?.cancel();
    if (retryAt === undefined || this.#isClosed) return;
    this.#retryTimer = timers.after(Math.max(retryAt - clock.now(), 0), () => this.#background.wake());
  }

  async #work(): Promise<void> {
    try {
      if (this.#cursors.isUnsure && (await this.#cursors.goBack())) this.#isBehind = true;
      while (this.#isBehind && !this.#isClosed) await this.#catchUp();
      this.#resolveWaiting();
      if (!this.#isBehind) await this.#drain();
      if (!this.#isBehind && this.#isUnsaved && this.#options.wantsRoom !== undefined)
        await this.#reach([...this.#heard]);
      if (!this.#isClosed) await this.#aside.retryDue();
    } catch (err) {
      // Whatever was taken out of the queue is read again.
      this.#isBehind = true;
      this.#cursors.doubt();
      const { logger, name, timers } = this.#options;
      logger.error('events could not be processed; trying again', { follower: name, err });
      if (!this.#isClosed) await timers.sleep(RETRY_MS);
    }
    if (this.#isBehind || this.#cursors.isUnsure) this.#background.wake();
    this.#wakeToRetry();
  }

  async #drain(): Promise<void> {
    while (this.#queue.length > 0) {
      const batch = this.#queue.splice(0, this.#batchSize);
      const reached = this.#queue.length === 0 ? [...this.#heard] : this.#cursors.positions;
      for (const { event } of batch) {
        const shard = shardOfPosition(event.nid);
        reached[shard] = Math.max(reached[shard] ?? 0, event.nid);
      }
      const vector = this.#cursors.positions;
      try {
        await this.#aside.takeIn(batch.filter(({ event }) => !covers(vector, event.nid)));
      } finally {
        // What was not processed is read again while it is behind.
        this.#taken += batch.length;
      }
      this.#resolveWaiting();
      await this.#reach(reached);
    }
  }

  async #reach(positions: readonly number[]): Promise<void> {
    this.#isUnsaved = false;
    await this.#cursors.reach(positions);
  }

  /** Reads from the database what was committed while nobody listened, or more than fits into the queue. */
  async #catchUp(): Promise<void> {
    // What is committed from now on comes through the queue.
    const goals = this.#options.writer.committed();
    this.#isBehind = false;
    this.#isCatchingUp = true;
    for (let shard = 0; shard < SHARDS && !this.#isClosed; shard++) await this.#catchUpShard(shard, goals[shard] ?? 0);
    // Broken off: the next process resumes where the cursors say.
    if (this.#isClosed) this.#isBehind = true;
    else this.#isCatchingUp = false;
  }

  async #catchUpShard(shard: number, goal: number): Promise<void> {
    for (let cursor = this.#cursors.of(shard); cursor !== undefined && cursor.pos < goal;) {
      const upTo = cursor.goal ?? goal;
      const after = cursor.room ?? 0;
      const rooms = await roomsBehind(this.#options.database, {
        shard,
        room: after,
        after: cursor.pos,
        limit: ROOMS_AT_ONCE,
      });
      const last = rooms.at(-1);
      for (const room of rooms) {
        await this.#catchUpRoom(room, cursor.pos, upTo);
        if (this.#isClosed) return;
      }
      const reached: FollowerCursor =
        last === undefined || rooms.length < ROOMS_AT_ONCE
          ? { shard, pos: upTo, goal: null, room: null }
          : { shard, pos: cursor.pos, goal: upTo, room: last };
      await this.#cursors.move(reached);
      cursor = reached;
    }
  }

  async #catchUpRoom(nid: number, from: number, upTo: number): Promise<void> {
    const { containing, database, interner, loader, rooms, types } = this.#options;
    const room = await rooms.byNid(nid);
    if (room === undefined || this.#options.wantsRoom?.(room) === false) return;
    const names = await interner.find({ types: types ?? [] });
    const typeNids = types?.flatMap((type) => names.peekType(type) ?? []);
    for (let after = from; !this.#isClosed;) {
      const query = { room: nid, after, upTo, types: typeNids, containing, limit: this.#batchSize };
      const records = await eventsAfter(database, query);
      const events = (await loader.adopt(records, () => room)).filter((event) => !this.#isHidden(event));
      await this.#aside.takeIn(events.map((event) => ({ room, event })));
      after = records.at(-1)?.nid ?? upTo;
      if (records.length < this.#batchSize) return;
    }
  }
}
