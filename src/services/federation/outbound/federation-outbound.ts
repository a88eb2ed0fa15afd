import { setImmediate } from 'node:timers/promises';
import { Background } from '#src/kernel/concurrency/background.ts';
import type { Clock } from '#src/kernel/clock.ts';
import type { Logger } from '#src/kernel/logger.ts';
import type { Metrics } from '#src/kernel/metrics.ts';
import type { Random } from '#src/kernel/random.ts';
import type { Subscribable } from '#src/kernel/signal.ts';
import { systemTimers, type Timers } from '#src/kernel/timers.ts';
import type { FederationClient } from '#src/remote/federation/federation-client.ts';
import type { Writer } from '#src/services/commit/writer.ts';
import { DeliveryQueue } from '#src/services/delivery/queue/delivery-queue.ts';
import type { DeliverySource } from '#src/services/delivery/queue/ports.ts';
import type { StickySource } from '#src/services/events/sticky/sticky-view.ts';
import type { RoomEventStream } from '#src/services/events/stream/room-event-stream.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import { Deliveries } from '#src/storage/delivery/deliveries.ts';
import type { Database } from '#src/storage/database.ts';
import { sharesRoomWithServer } from '#src/storage/federation/destination-rooms.ts';
import { destinationPauseMs, MAX_PAUSE_MS } from './destination-pauses.ts';
import { DestinationProgress } from './destination-progress.ts';
import type { EduSources } from './edu-sources.ts';
import { EventAudience } from './event-audience.ts';
import { EventsToSend } from './events-to-send.ts';
import { NAME, OutboundPositions } from './outbound-positions.ts';
import { PendingRooms } from './pending-rooms.ts';
import { TransactionComposer } from './transaction-composer.ts';
import { type Sending, TransactionDelivery } from './transaction-delivery.ts';

/** How long the last events of a room that is being deleted are waited for, and how often is looked. */
const MAX_SETTLING_MS = 30_000;
const SETTLING_MS = 100;
/** Time for transactions under way when the server stops. */
const CLOSE_MS = 3_000;
/** The same for attempts to reach servers that were never reached: most of them fail, and the next process tries again. */
const CLOSE_UNKNOWN_MS = 500;
/** After a transaction, what comes for its server so soon goes out together: milliseconds that readers do not notice. */
const GATHER_MS = 100;
/** The largest share of concurrent transactions that servers take which were never reached. */
const SHARE_OF_UNKNOWN = 0.6;
/**
 * Servers that could not be reached last have places of their own beside these, so many for each place. Most of these are connections without
 * an answer, which cost little and take long.
 */
const PLACES_OF_FAILING = 1.25;

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
  /** Servers that were heard of: what could not be reached before can be now. */
  readonly contacts: Subscribable<string>;
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
  readonly #positions: OutboundPositions;
  readonly #transactions: TransactionDelivery;
  readonly #queue: DeliveryQueue<Sending>;
  readonly #spreading: Background;

  constructor(options: FederationOutboundOptions) {
    this.#options = options;
    const {
      allows,
      client,
      clock,
      concurrency,
      database,
      edus,
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
    this.#progress = new DestinationProgress(new Deliveries(database, NAME));
    this.#audience = new EventAudience({
      stream,
      pending: this.#pending,
      isLocal,
      allows,
      joined,
      maySticky: (room) => sticky.mayHaveAny(room),
      wake: (destinations) => {
        for (const destination of destinations) this.#queue.wake(destination);
        this.#positions.noteSoon();
      },
      hurry: (destinations) => {
        for (const destination of destinations) this.#queue.hurry(destination);
        this.#positions.noteSoon();
      },
      wakeSoon: () => this.#spreading.wake(),
      heard: () => this.#positions.noteSometime(),
    });
    this.#positions = new OutboundPositions({ ...options, pending: this.#pending, audience: this.#audience });
    const events = new EventsToSend({ database, rooms, pending: this.#pending, sticky, isLocal, clock });
    const composer = new TransactionComposer({ ...options, events });
    this.#transactions = new TransactionDelivery({
      client,
      composer,
      logger,
      failuresOf: (destination) => this.#progress.failuresOf(destination),
      sharesRoom: (destination) => sharesRoomWithServer(database, destination),
      away: (destination) => edus.away(destination),
      forget: (destination) => this.#forget(destination),
    });
    const unknown = { name: 'unknown', most: Math.max(1, Math.floor(concurrency * SHARE_OF_UNKNOWN)) };
    const failing = { name: 'failing', most: Math.ceil(concurrency * PLACES_OF_FAILING) };
    const proven = { name: 'proven', most: concurrency };
    this.#queue = new DeliveryQueue<Sending>({
      name: NAME,
      progress: this.#progress,
      source: this.#source,
      send: async (destination, { items: [sending] }, signal) => {
        if (sending === undefined) return { kind: 'done' };
        const outcome = await this.#transactions.send(destination, sending, signal);
        if (outcome.kind === 'done') this.#positions.noteSoon();
        return outcome;
      },
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
        this.#progress.failuresOf(destination) > 0
          ? failing
          : this.#transactions.isProven(destination)
            ? proven
            : unknown,
    });
    this.#spreading = new Background(
      'federation audience',
      async () => {
        // One turn of the event loop lets the others of this turn come along.
        await setImmediate();
        this.#audience.spread();
      },
      (err) => {
        logger.error('events could not be assigned to the servers of their rooms; trying again', { err });
        this.#positions.noteSoon();
      },
    );
    options.woken.subscribe((destination) => {
      if (allows(destination)) this.#queue.wake(destination);
    });
    options.contacts.subscribe((destination) => this.#queue.inContact(destination));
    metrics.gaugeOf('tsudoi_federation_pending_rooms', 'rooms with events that a server is still to be sent', () => {
      return this.#pending.size;
    });
    metrics.gaugeOf('tsudoi_federation_failing_servers', 'servers whose last transaction failed', () => {
      return this.#progress.failing;
    });
  }

  /** Resumes what the last process left. The writer owns its shards. */
  async start(): Promise<void> {
    await this.#positions.start();
    await this.#queue.start();
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
    await this.#positions.idle();
  }

  /** Sends what waits to servers that can be reached, begins nothing new then, and aborts what takes long. */
  async drain(): Promise<void> {
    await this.#spreading.close();
    this.#audience.spread();
    this.#transactions.stopTrying();
    // Names and connections are waited for in real time, whatever time it is.
    const timer = systemTimers.after(CLOSE_UNKNOWN_MS, () => this.#transactions.stopAsking());
    await this.#queue.close(CLOSE_MS);
    timer.cancel();
  }

  /** Notes what is left for the next process. */
  close(): Promise<void> {
    return this.#positions.close();
  }

  readonly #source: DeliverySource<Sending> = {
    next: async (destination, after) => {
      const held = this.#transactions.held(destination);
      if (held !== undefined) {
        if (held.position > after) return [{ position: held.position, item: held }];
        // The queue gave it up.
        await this.#transactions.giveUp(destination);
        this.#positions.noteSoon();
      }
      if (!this.#hasFor(destination)) {
        this.#transactions.rest(destination);
        await this.#progress.forget(destination);
        return [];
      }
      const position = after + 1;
      return [{ position, item: { position, last: undefined } }];
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

  /** Nothing is sent to a server any more, and nothing kept for it. */
  async #forget(destination: string): Promise<void> {
    this.#transactions.forget(destination);
    this.#pending.forget(destination);
    this.#positions.noteSoon();
    await this.#options.edus.forget(destination);
  }
}

const byCodeUnits = (one: string, other: string): number => (one < other ? -1 : 1);
