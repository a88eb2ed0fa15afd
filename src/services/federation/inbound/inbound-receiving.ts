import type { Clock } from '#src/kernel/clock.ts';
import { Gate } from '#src/kernel/limits/gate.ts';
import type { Logger } from '#src/kernel/logger.ts';
import type { Counter, Histogram, Metrics } from '#src/kernel/metrics.ts';
import type { Timers } from '#src/kernel/timers.ts';
import type { IdentifiedPdu, Pdu } from '#src/protocol/events/pdu.ts';
import type { ReceivedChecks } from '#src/services/events/policy/received-checks.ts';
import type { EventReceiver } from '#src/services/events/receiving/event-receiver.ts';
import type { Reception } from '#src/services/events/receiving/reception.ts';
import { eventIdText } from '#src/services/room-model/event/event-ids.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { InboundEventRecord } from '#src/storage/federation/inbound.ts';
import { isOfDatabase } from '#src/storage/failures.ts';

/** An event that was acknowledged and waits to be received. */
export interface WaitingEvent {
  /** Its place in the queue. */
  readonly seq: number;
  readonly origin: string;
  readonly event: IdentifiedPdu;
  /** When it was acknowledged, in milliseconds since the epoch. */
  readonly receivedTs: number;
  /** The length of its text. */
  readonly characters: number;
}

/** Fetches the missing events of an event, and then accepts it. */
export interface GapCloser {
  /**
   * @param origin the server that sent the event
   * @returns the outcome; undefined when its missing events could not be fetched. In a room with partial state, events after a gap stay
   *   `missing`.
   */
  close(room: Room, event: IdentifiedPdu, origin: string, signal: AbortSignal): Promise<Reception | undefined>;
}

export interface InboundReceivingOptions {
  readonly receiver: Pick<EventReceiver, 'receiveMany'>;
  readonly gaps: GapCloser;
  readonly policies: Pick<ReceivedChecks, 'mayConcern' | 'prepare'>;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** Rooms whose events are received at the same time. */
export const ROOMS_AT_ONCE = 4;
/** Milliseconds after which it is the turn of another room: what events do to large rooms with many forks may take long for each of them. */
export const TURN_MS = 1_000;
/** Of those rooms, the ones whose last turn took as long: the others have places of their own. */
export const SLOW_ROOMS_AT_ONCE = 2;
/** Events whose missing events are requested at the same time: in all, and of one origin. */
export const ASKING_AT_ONCE = 64;
export const ASKING_OF_ORIGIN_AT_ONCE = 4;
/** Longest time for fetching the missing events of one event; and, from its acknowledgement, for waiting for its origin while that is unreachable. */
export const MAX_ASKING_MS = 300_000;
const SECONDS = [0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300];

/** Receives queued events, a few rooms at a time, and fetches their missing events. Counts and logs the outcomes. */
export class InboundReceiving {
  readonly #options: InboundReceivingOptions;
  readonly #signal: AbortSignal;
  readonly #receiving = new Gate(ROOMS_AT_ONCE);
  readonly #receivingSlow = new Gate(SLOW_ROOMS_AT_ONCE);
  readonly #slow = new WeakSet<Room>();
  readonly #asking = new Gate(ASKING_AT_ONCE);
  readonly #askingOf = new Map<string, Gate>();
  readonly #received: Counter;
  readonly #seconds: Histogram;

  /** @param signal aborted when this server stops */
  constructor(options: InboundReceivingOptions, signal: AbortSignal) {
    this.#options = options;
    this.#signal = signal;
    const { metrics } = options;
    this.#received = metrics.counter(
      'tsudoi_federation_received_events_total',
      'Events that other servers have sent, by what became of them.',
      ['outcome'],
    );
    this.#seconds = metrics.histogram(
      'tsudoi_federation_gap_seconds',
      'Time to fetch the missing events of a received event.',
      SECONDS,
    );
  }

  /** Asks the room's policy server, before the room is locked and outside of the gates, since it may be slow. @returns false when this server stops */
  async askPolicyServer(room: Room, batch: readonly WaitingEvent[]): Promise<boolean> {
    const { policies } = this.#options;
    if (policies.mayConcern(room))
      await policies.prepare(
        room,
        batch.map(({ event }) => event),
        this.#signal,
      );
    return !this.#signal.aborted;
  }

  /**
   * Receives events of a room together, in order, for as long as its turn is.
   *
   * @returns the outcome of each of the first ones, one at least; undefined for those that cannot be written. The others have to wait for another turn
   */
  receiveAll(room: Room, batch: readonly WaitingEvent[]): Promise<readonly (Reception | undefined)[]> {
    return this.#inTurn(room, (isOver) => this.#receiveBatch(room, batch, isOver));
  }

  /** Receives one event. @returns undefined when it cannot be written */
  receive(room: Room, waiting: WaitingEvent): Promise<Reception | undefined> {
    return this.#inTurn(room, () => this.#receiveAlone(room, waiting));
  }

  /** Waits for the turn of a room, and notes whether it was a long one. */
  #inTurn<T>(room: Room, work: (isOver: () => boolean) => Promise<T>): Promise<T> {
    const { clock } = this.#options;
    const turn = (): Promise<T> =>
      this.#receiving.run(async () => {
        const began = clock.monotonic();
        const isOver = (): boolean => clock.monotonic() - began >= TURN_MS;
        try {
          return await work(isOver);
        } finally {
          if (isOver()) this.#slow.add(room);
          else this.#slow.delete(room);
        }
      });
    return this.#slow.has(room) ? this.#receivingSlow.run(turn) : turn();
  }

  /** Fetches the missing events of an event, and receives it. @returns undefined when they could not be fetched */
  async closeGap(room: Room, waiting: WaitingEvent): Promise<Reception | undefined> {
    const { clock } = this.#options;
    const started = clock.monotonic();
    const reception = await this.#gateOf(waiting.origin).run(() => this.#asking.run(() => this.#close(room, waiting)));
    this.#seconds.observe((clock.monotonic() - started) / 1000);
    return reception;
  }

  /** Forgets an origin without waiting events. */
  forget(origin: string): void {
    this.#askingOf.delete(origin);
  }

  /** Counts an event that failed, and logs it. @throws the error, where the database is away or this server stops */
  failed(room: Room, { event, origin }: WaitingEvent, err: unknown, message: string): void {
    if (isOfDatabase(err) || this.#signal.aborted) throw err;
    this.#received.inc({ outcome: 'failed' });
    this.#options.logger.error(message, { err, room_id: room.roomId, event_id: event.eventId, origin });
  }

  /** Counts the outcome of an event, and logs it where it was not accepted. */
  note(room: Room, { event, origin }: WaitingEvent, reception: Reception): void {
    this.#received.inc({ outcome: reception.outcome });
    if (reception.outcome === 'accepted' || reception.outcome === 'known') return;
    this.#options.logger.info('a remote event was not accepted', {
      room_id: room.roomId,
      event_id: event.eventId,
      origin,
      outcome: reception.outcome,
      reason: 'reason' in reception ? reception.reason : `${reception.ids.length} events that it names are not here`,
    });
  }

  /** All of them together; where one of them cannot be written, each for itself. @returns undefined for those that cannot be written */
  async #receiveBatch(
    room: Room,
    batch: readonly WaitingEvent[],
    isOver: () => boolean,
  ): Promise<readonly (Reception | undefined)[]> {
    const { receiver } = this.#options;
    try {
      return await receiver.receiveMany(
        room,
        batch.map(({ event }) => event),
        batch.map(({ origin }) => origin),
        isOver,
      );
    } catch (error) {
      if (isOfDatabase(error) || batch.length === 0 || this.#signal.aborted) throw error;
      const receptions: (Reception | undefined)[] = [];
      for (const waiting of batch) {
        receptions.push(await this.#receiveAlone(room, waiting));
        if (isOver()) break;
      }
      return receptions;
    }
  }

  async #receiveAlone(room: Room, waiting: WaitingEvent): Promise<Reception | undefined> {
    try {
      return (await this.#options.receiver.receiveMany(room, [waiting.event], [waiting.origin]))[0];
    } catch (err) {
      this.failed(room, waiting, err, 'a remote event could not be received');
      return undefined;
    }
  }

  /** Bounded in time: the missing events are requested again with the next event. */
  async #close(room: Room, { event, origin }: WaitingEvent): Promise<Reception | undefined> {
    const { gaps, timers } = this.#options;
    const late = new AbortController();
    const timer = timers.after(MAX_ASKING_MS, () => late.abort());
    try {
      return await gaps.close(room, event, origin, AbortSignal.any([this.#signal, late.signal]));
    } finally {
      timer.cancel();
    }
  }

  #gateOf(origin: string): Gate {
    const gate = this.#askingOf.get(origin) ?? new Gate(ASKING_OF_ORIGIN_AT_ONCE);
    this.#askingOf.set(origin, gate);
    return gate;
  }
}

/** A waiting event as it lies in the database. */
export const waitingEvent = (
  { version }: Room,
  { event_id: id, json, origin, received_ts: receivedTs, seq }: InboundEventRecord,
): WaitingEvent => ({
  seq,
  origin,
  event: { eventId: eventIdText(version, id), pdu: JSON.parse(json) as Pdu },
  receivedTs,
  characters: json.length,
});
