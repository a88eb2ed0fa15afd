import { setImmediate } from 'node:timers/promises';
import { LRUCache } from 'lru-cache';
import { atMost } from '#src/kernel/at-most.ts';
import { Background } from '#src/kernel/background.ts';
import type { Clock } from '#src/kernel/clock.ts';
import type { Logger } from '#src/kernel/logger.ts';
import type { Metrics } from '#src/kernel/metrics.ts';
import type { Random } from '#src/kernel/random.ts';
import type { Subscribable } from '#src/kernel/signal.ts';
import { systemTimers, type Timer, type Timers } from '#src/kernel/timers.ts';
import { ORIGIN, type PositionVector, shardOfName, SHARDS } from '#src/protocol/wire/position.ts';
import type {
  FederationClient,
  FederationFailure,
  FederationQuestion,
  FederationTimeouts,
} from '#src/remote/federation/federation-client.ts';
import type { Writer } from '#src/services/commit/writer.ts';
import { DeliveryQueue } from '#src/services/delivery/queue/delivery-queue.ts';
import type { Batch, DeliverySource, Outcome } from '#src/services/delivery/queue/ports.ts';
import type { StickySource } from '#src/services/events/sticky/sticky-view.ts';
import type { RoomEventStream } from '#src/services/events/stream/room-event-stream.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import { Deliveries } from '#src/storage/delivery/deliveries.ts';
import type { Database } from '#src/storage/database.ts';
import { followerCursors, roomsBehind, saveFollowerCursors } from '#src/storage/events/event-followers.ts';
import {
  destinationRooms,
  replaceDestinationRooms,
  sharesRoomWithServer,
} from '#src/storage/federation/destination-rooms.ts';
import { destinationPauseMs, MAX_PAUSE_MS } from './destination-pauses.ts';
import { DestinationProgress } from './destination-progress.ts';
import type { EduSources } from './edu-sources.ts';
import { EventAudience } from './event-audience.ts';
import { EventsToSend } from './events-to-send.ts';
import { bodyOf, MAX_EDUS, MAX_PDUS, type OutboundTransaction, transactionId } from './outbound-transaction.ts';
import { PendingRooms } from './pending-rooms.ts';

/** Its name in stored cursors, logs and metrics. */
const NAME = 'federation';
const PAGE = 500;
/** How long progress may stay unwritten. */
const KEEP_MS = 1_000;
/** The same, when nothing since concerns other servers. */
const KEEP_IDLE_MS = 60_000;
/** How long the last events of a room that is being deleted are waited for, and how often is looked. */
const MAX_SETTLING_MS = 30_000;
const SETTLING_MS = 100;
/** Time for transactions under way when the server stops. */
const CLOSE_MS = 3_000;
/** The same for attempts to reach servers that were never reached: most of them fail, and the next process tries again. */
const CLOSE_UNKNOWN_MS = 500;
/** After a transaction, what comes for its server so soon goes out together: milliseconds that readers do not notice. */
const GATHER_MS = 100;
/** A transaction that failed so often is no longer held in memory, and put together anew when it is tried again. */
const HELD_FAILURES = 3;
/** After so many failures in a row, about a minute, a server was away for long. */
const LONG_FAILURES = 7;
/** After so many, more than a quarter of an hour, it is checked whether it shares any room with this server. */
const GONE_FAILURES = 52;
/** The largest share of concurrent transactions that servers take which were never reached. */
const SHARE_OF_UNKNOWN = 0.6;
/**
 * Servers that could not be reached last have places of their own beside these, so many for each place. Most of these are connections without
 * an answer, which cost little and take long.
 */
const PLACES_OF_FAILING = 1.25;
/** Servers of which it is remembered that they were reached last. */
const MAX_PROVEN = 20_000;
const TIMEOUTS = { acceptMs: 10_000, headersMs: 60_000, totalMs: 90_000 };
/** The first attempt is short: many of a thousand unknown servers may be dead, and the others wait behind them. */
const TIMEOUTS_OF_UNKNOWN = { ...TIMEOUTS, acceptMs: 5_000 };
const TIMEOUTS_OF_FAILING = { acceptMs: 5_000, headersMs: 20_000, totalMs: 30_000 };
/** A server that is tried once in a while gets more time. */
const TIMEOUTS_OF_GONE = { ...TIMEOUTS_OF_FAILING, acceptMs: 10_000 };
/** The pause after an error of this server itself. */
const TROUBLE_MS = 2_000;
/** Answers name the events that were refused. */
const MAX_ANSWER_BYTES = 262_144;
/** Statuses of refusals that say nothing about what was sent. */
const NOT_ABOUT_CONTENT: ReadonlySet<number> = new Set([401, 403, 404, 405, 408, 421, 425, 429]);

export interface FederationOutboundOptions {
  readonly serverName: string;
  readonly database: Database;
  readonly rooms: RoomRegistry;
  readonly stream: RoomEventStream;
  readonly writer: Writer;
  readonly client: Pick<FederationClient, 'request'>;
  readonly edus: EduSources;
  readonly sticky: StickySource;
  /** Says that something other than events waits for a server. */
  readonly woken: Subscribable<string>;
  readonly isLocal: (userId: string) => boolean;
  /** Whether this server federates with that one. */
  readonly allows: (serverName: string) => boolean;
  /** A server has joined a room. */
  readonly joined: (room: Room, serverName: string) => void;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Servers that are sent to at once. */
  readonly concurrency: number;
}

/** A transaction for a server. It is put together when there is a connection to the server, and held until it has arrived. */
interface Sending {
  readonly position: number;
  transaction: OutboundTransaction | undefined;
}

/**
 * Sends transactions to other servers: events in order, to-device messages before the events that they decrypt, at least once, and each transaction
 * under an id by which it is recognised. Server-Server API, "Transactions".
 *
 * What waits is a position for each server and room. It is written once in a while, and only of servers that have not kept up: what came
 * after that is worked out again from the events themselves.
 */
export class FederationOutbound {
  readonly #options: FederationOutboundOptions;
  readonly #pending = new PendingRooms();
  readonly #progress: DestinationProgress;
  readonly #audience: EventAudience;
  readonly #events: EventsToSend;
  readonly #queue: DeliveryQueue<Sending>;
  readonly #spreading: Background;
  readonly #keeping: Background;
  /** What was put together and has not arrived, by destination. */
  readonly #held = new Map<string, Sending>();
  /** Ends attempts to reach servers that could not be reached last; they are not waited for when the server stops. */
  readonly #trying = new AbortController();
  /** The same for servers of which nothing is known. */
  readonly #asking = new AbortController();
  /** Servers that were reached last: they do not wait for servers that take long to fail. */
  readonly #proven = new LRUCache<string, true>(atMost(MAX_PROVEN));
  #lastTurn: Promise<void> = Promise.resolve();
  /** Servers that are back after long. */
  readonly #returning = new Set<string>();
  /** Up to where everything is known to the database, in each shard. */
  #keptUpTo: PositionVector = ORIGIN;
  #keepTimer: { readonly timer: Timer; readonly isPatient: boolean } | undefined;
  #stopListening: (() => void) | undefined;
  /** Names the transactions of this process that carry nothing that is kept. */
  readonly #run: string;
  #count = 0;

  constructor(options: FederationOutboundOptions) {
    this.#options = options;
    const {
      allows,
      clock,
      concurrency,
      database,
      isLocal,
      joined,
      logger,
      metrics,
      random,
      rooms,
      sticky,
      stream,
      timers,
    } = options;
    this.#run = random.string(12, 'abcdefghijklmnopqrstuvwxyz0123456789');
    this.#progress = new DestinationProgress(new Deliveries(database, NAME));
    this.#events = new EventsToSend({ database, rooms, pending: this.#pending, sticky, isLocal, clock });
    this.#audience = new EventAudience({
      stream,
      pending: this.#pending,
      isLocal,
      allows,
      joined,
      maySticky: (room) => sticky.mayHaveAny(room),
      wake: (destinations) => {
        for (const destination of destinations) this.#queue.wake(destination);
        this.#keepSoon(false);
      },
      hurry: (destinations) => {
        for (const destination of destinations) this.#queue.hurry(destination);
        this.#keepSoon(false);
      },
      wakeSoon: () => this.#spreading.wake(),
      heard: () => this.#keepSoon(true),
    });
    const unknown = { name: 'unknown', most: Math.max(1, Math.floor(concurrency * SHARE_OF_UNKNOWN)) };
    const failing = { name: 'failing', most: Math.ceil(concurrency * PLACES_OF_FAILING) };
    const proven = { name: 'proven', most: concurrency };
    this.#queue = new DeliveryQueue<Sending>({
      name: NAME,
      progress: this.#progress,
      source: this.#source,
      send: (destination, batch, signal) => this.#send(destination, batch, signal),
      clock,
      timers,
      random,
      logger,
      metrics,
      concurrency: concurrency + failing.most,
      batchSize: 1,
      firstPauseMs: destinationPauseMs(1),
      maxPauseMs: MAX_PAUSE_MS,
      pauseMs: destinationPauseMs,
      // They end by themselves, whatever time it is.
      gather: { ms: GATHER_MS, timers: systemTimers },
      groupOf: (destination) =>
        this.#progress.failuresOf(destination) > 0 ? failing : this.#proven.has(destination) ? proven : unknown,
    });
    const failed = (err: unknown): void => {
      logger.error('what other servers are still to be sent could not be noted; trying again', { err });
      this.#keepSoon(false);
    };
    this.#spreading = new Background(
      'federation audience',
      async () => {
        // One turn of the event loop lets the others of this turn come along.
        await setImmediate();
        this.#audience.spread();
      },
      failed,
    );
    this.#keeping = new Background('federation positions', () => this.#keep(), failed);
    options.woken.subscribe((destination) => {
      if (allows(destination)) this.#queue.wake(destination);
    });
    metrics.gaugeOf('tsudoi_federation_pending_rooms', 'rooms with events that a server is still to be sent', () => {
      return this.#pending.size;
    });
    metrics.gaugeOf('tsudoi_federation_failing_servers', 'servers that could not be sent anything last', () => {
      return this.#progress.failing;
    });
  }

  /** Resumes what the last process left. The writer owns its shards. */
  async start(): Promise<void> {
    await this.#recallKept();
    const { database, rooms, writer } = this.#options;
    const committed = writer.committed();
    const cursors = new Map((await followerCursors(database, NAME)).map(({ shard, pos }) => [shard, pos]));
    this.#keptUpTo = committed.map((position, shard) => (cursors.size === 0 ? position : (cursors.get(shard) ?? 0)));
    this.#audience.resume(committed);
    this.#stopListening = this.#audience.listen();
    if (cursors.size === 0) await saveFollowerCursors(database, NAME, cursorsOf(committed));
    for (let shard = 0; shard < SHARDS; shard++) {
      const after = this.#keptUpTo[shard] ?? 0;
      if (after >= (committed[shard] ?? 0)) continue;
      for (let last = 0, page = await this.#behind(shard, last, after); page.length > 0;) {
        for (const nid of page) {
          const room = await rooms.byNid(nid);
          if (room !== undefined) this.#audience.recall(room, after);
        }
        last = page.at(-1) ?? last;
        page = await this.#behind(shard, last, after);
      }
    }
    await this.#queue.start();
  }

  /** Says that a server was heard of: if it could not be reached before, it can be now. */
  inContact(destination: string): void {
    this.#queue.inContact(destination);
  }

  /** How often in a row a server could not be reached. */
  failuresOf(destination: string): number {
    return this.#progress.failuresOf(destination);
  }

  /**
   * Waits until other servers have what waits for them of a room that is about to be deleted, but not for those that cannot be reached, and
   * not for long.
   */
  async settle(room: Room, signal: AbortSignal): Promise<void> {
    this.#audience.spread();
    for (let waitedMs = 0; waitedMs < MAX_SETTLING_MS && !signal.aborted; waitedMs += SETTLING_MS) {
      const waiting = this.#pending.waitingFor(room.nid);
      if (waiting.every((destination) => this.#progress.failuresOf(destination) > 0)) return;
      // Sending ends by itself, whatever time it is.
      await systemTimers.sleep(SETTLING_MS, signal);
    }
  }

  /** Resolves when nothing is being sent, and nothing could be: what is left waits for its next try. */
  async idle(): Promise<void> {
    await this.#spreading.idle();
    this.#audience.spread();
    await this.#queue.idle();
    await this.#keeping.idle();
  }

  /** Sends what waits to servers that can be reached, begins nothing new then, and aborts what takes long. */
  async drain(): Promise<void> {
    await this.#spreading.close();
    this.#audience.spread();
    this.#trying.abort();
    // Names and connections are waited for in real time, whatever time it is.
    const timer = systemTimers.after(CLOSE_UNKNOWN_MS, () => this.#asking.abort());
    await this.#queue.close(CLOSE_MS);
    timer.cancel();
  }

  /** Notes what is left for the next process. */
  async close(): Promise<void> {
    this.#stopListening?.();
    this.#keepTimer?.timer.cancel();
    await this.#keeping.close();
    if (this.#stopListening === undefined) return;
    try {
      await this.#keep();
    } catch (err) {
      this.#options.logger.warn(
        'progress of sending to other servers could not be stored; the next process computes it again',
        {
          err,
        },
      );
    }
  }

  #behind(shard: number, room: number, after: number): Promise<number[]> {
    return roomsBehind(this.#options.database, { shard, room, after, limit: PAGE });
  }

  async #recallKept(): Promise<void> {
    const { database, writer } = this.#options;
    for (let last = { destination: '', room: 0, after: 0 }; ;) {
      const page = await destinationRooms(database, last, PAGE);
      // Where nothing of a room had been sent, `after` is no position of its own, and says nothing of its shard.
      for (const row of page) this.#pending.recall(row, writer.committedIn(shardOfName(row.roomId)));
      const end = page.at(-1);
      if (end === undefined) return;
      last = end;
    }
  }

  readonly #source: DeliverySource<Sending> = {
    next: async (destination, after) => {
      const held = this.#held.get(destination);
      if (held !== undefined) {
        if (held.position > after) return [{ position: held.position, item: held }];
        // The queue gave it up.
        this.#held.delete(destination);
        await held.transaction?.delivered();
      }
      if (!this.#hasFor(destination)) {
        this.#returning.delete(destination);
        await this.#progress.forget(destination);
        return [];
      }
      const position = after + 1;
      return [{ position, item: { position, transaction: undefined } }];
    },
    behind: async (after, limit) => {
      const all = new Set([...this.#pending.destinations, ...(after === '' ? await this.#options.edus.kept() : [])]);
      if (after === '') this.#behindAtStart = [...all].toSorted(byCodeUnits);
      return this.#behindAtStart.filter((destination) => destination > after).slice(0, limit);
    },
  };
  #behindAtStart: readonly string[] = [];

  /** Whether something may wait for a server. */
  #hasFor(destination: string): boolean {
    return this.#pending.has(destination) || this.#options.edus.has(destination);
  }

  async #build(destination: string): Promise<OutboundTransaction | undefined> {
    const { clock, edus, serverName } = this.#options;
    if (this.#progress.failuresOf(destination) >= LONG_FAILURES) this.#returning.add(destination);
    const taken = await edus.take(destination, MAX_EDUS);
    const { identity, pdus, ...events } = await this.#events.take(
      destination,
      taken.holdsEventsBack ? 0 : MAX_PDUS,
      this.#returning.has(destination),
    );
    if (taken.edus.length === 0 && pdus.length === 0) return undefined;
    return {
      id: transactionId([...taken.identity, ...identity], () => `${this.#run}-${(this.#count += 1)}`),
      body: bodyOf(serverName, clock.now(), pdus, taken.edus),
      isFull: taken.holdsEventsBack || pdus.length >= MAX_PDUS || taken.edus.length >= MAX_EDUS,
      delivered: async () => {
        await taken.delivered();
        events.delivered();
        this.#keepSoon(false);
      },
    };
  }

  async #send(destination: string, { items: [sending] }: Batch<Sending>, signal: AbortSignal): Promise<Outcome> {
    if (sending === undefined) return { kind: 'done' };
    const failures = this.#progress.failuresOf(destination);
    const firstAttempt = this.#proven.has(destination) ? signal : this.#asking.signal;
    const attempt = failures > 0 ? this.#trying.signal : firstAttempt;
    let trouble: unknown;
    const result = await this.#options.client.request({
      destination,
      method: 'PUT',
      compose: async () => {
        try {
          return await this.#compose(destination, sending);
        } catch (err) {
          trouble = err;
          return undefined;
        }
      },
      maxBodyBytes: MAX_ANSWER_BYTES,
      timeouts: this.#timeoutsFor(destination, failures),
      signal: attempt,
      isUrgent: true,
    });
    if (trouble !== undefined) {
      this.#options.logger.error('what a server is to be sent could not be put together; trying again', {
        destination,
        err: trouble,
      });
      return { kind: 'later', afterMs: TROUBLE_MS };
    }
    const { transaction } = sending;
    // The content of an answer does not matter: the transaction arrived, and a refused event would be refused again.
    if (result.ok || result.kind === 'too_large') {
      this.#held.delete(destination);
      this.#proven.set(destination, true);
      await transaction?.delivered();
      return { kind: 'done', hasMore: transaction?.isFull === true };
    }
    this.#proven.delete(destination);
    if (attempt !== signal && attempt.aborted) return { kind: 'later', afterMs: TROUBLE_MS };
    return this.#settleFailure(destination, transaction, failures, result);
  }

  #timeoutsFor(destination: string, failures: number): Partial<FederationTimeouts> {
    if (failures >= GONE_FAILURES) return TIMEOUTS_OF_GONE;
    if (failures > 0) return TIMEOUTS_OF_FAILING;
    return this.#proven.has(destination) ? TIMEOUTS : TIMEOUTS_OF_UNKNOWN;
  }

  /** Puts together what a server is sent next, unless that is there from the last time. */
  async #compose(destination: string, sending: Sending): Promise<FederationQuestion | undefined> {
    await this.#turn();
    const transaction = (sending.transaction ??= await this.#build(destination));
    if (transaction === undefined) return undefined;
    this.#held.set(destination, sending);
    return { path: `/_matrix/federation/v1/send/${encodeURIComponent(transaction.id)}`, body: transaction.body };
  }

  /** A turn of the event loop for each transaction: signing for hundreds of servers at once must not hold up requests. */
  #turn(): Promise<void> {
    const turn = this.#lastTurn.then(() => setImmediate());
    this.#lastTurn = turn;
    return turn;
  }

  async #settleFailure(
    destination: string,
    transaction: OutboundTransaction | undefined,
    failures: number,
    failure: FederationFailure,
  ): Promise<Outcome> {
    const { kind, retryAfterMs, status = 0 } = failure;
    if (kind === 'disabled' || kind === 'denied') {
      await this.#forget(destination);
      return { kind: 'gone' };
    }
    if (kind === 'unreachable' && retryAfterMs !== undefined) return { kind: 'later', afterMs: retryAfterMs };
    if (kind === 'refused' && status >= 400 && status < 500 && !NOT_ABOUT_CONTENT.has(status)) {
      this.#options.logger.warn('another server refuses a transaction', {
        destination,
        transaction: transaction?.id,
        status,
        errcode: failure.errcode,
        reason: failure.error,
      });
      return { kind: 'refused' };
    }
    if (failures + 1 >= HELD_FAILURES) {
      this.#held.delete(destination);
      this.#options.edus.away(destination);
    }
    if (failures >= GONE_FAILURES && !(await sharesRoomWithServer(this.#options.database, destination))) {
      await this.#forget(destination);
      return { kind: 'gone' };
    }
    return retryAfterMs === undefined ? { kind: 'retry' } : { kind: 'retry', afterMs: retryAfterMs };
  }

  /** Nothing is sent to a server any more, and nothing kept for it. */
  async #forget(destination: string): Promise<void> {
    this.#held.delete(destination);
    this.#returning.delete(destination);
    this.#pending.forget(destination);
    this.#keepSoon(false);
    await this.#options.edus.forget(destination);
  }

  #keepSoon(isPatient: boolean): void {
    const known = this.#keepTimer;
    if (known !== undefined && (isPatient || !known.isPatient)) return;
    known?.timer.cancel();
    const timer = this.#options.timers.after(isPatient ? KEEP_IDLE_MS : KEEP_MS, () => {
      this.#keepTimer = undefined;
      this.#keeping.wake();
    });
    this.#keepTimer = { timer, isPatient };
  }

  /** Writes what waits, and up to where that is all. */
  async #keep(): Promise<void> {
    this.#audience.spread();
    const reached = this.#audience.heard;
    const changes = this.#pending.takeChanges();
    const cursors = cursorsOf(reached).filter(({ shard, pos }) => pos !== this.#keptUpTo[shard]);
    if (changes.taken.length === 0 && cursors.length === 0) return;
    try {
      await this.#options.database.write(async (tx) => {
        await replaceDestinationRooms(tx, changes.replaced, changes.rows);
        if (cursors.length > 0) await saveFollowerCursors(tx, NAME, cursors);
      });
      this.#keptUpTo = reached;
    } catch (error) {
      this.#pending.putBack(changes);
      throw error;
    }
  }
}

const byCodeUnits = (one: string, other: string): number => (one < other ? -1 : 1);

const cursorsOf = (
  positions: PositionVector,
): { readonly shard: number; readonly pos: number; readonly goal: null; readonly room: null }[] =>
  positions.map((pos, shard) => ({ shard, pos, goal: null, room: null }));
