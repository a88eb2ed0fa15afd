import { setImmediate } from 'node:timers/promises';
import type { Clock } from '#src/kernel/clock.ts';
import { Gate } from '#src/kernel/limits/gate.ts';
import type { Logger } from '#src/kernel/logger.ts';
import type { Counter, Metrics } from '#src/kernel/metrics.ts';
import type { Random } from '#src/kernel/random.ts';
import { SharedBudget, Shares } from '#src/kernel/limits/shared-budget.ts';
import { MAX_EDUS, MAX_PDUS } from '#src/protocol/wire/transaction-bounds.ts';
import { countGivenUp } from '#src/services/events/stream/follower-metrics.ts';
import { isOfDatabase } from '#src/storage/failures.ts';
import { NO_EDUS, type TakenEdus } from './edu-source.ts';
import type { EduSources } from './edu-sources.ts';
import { type EventsOnTheirWay, type EventsToSend, NO_EVENTS } from './events-to-send.ts';
import { bodyOf, type OutboundTransaction, type SentTransaction, transactionId } from './outbound-transaction.ts';

/** Bytes of bodies under way to all servers together, and which part of what is left one of them may have. */
export const MAX_BYTES = 64 * 1024 * 1024;
const PART = 1 / 16;
/** Bytes that a character of a body may take. */
const BYTES_OF_CHARACTER = 2;
/** Characters of the events of one transaction. */
export const MAX_CHARACTERS = 2_000_000;
/** Where there is room for fewer bytes, a server waits: they hold the largest event, or message for a device. */
const LEAST_BYTES = 256 * 1024;
/** Transactions that are put together at once: each may have much in it until it is known what it has. */
export const CONCURRENCY = 16;
/** After so many failures in a row to put together a transaction, what it cannot be made of is looked for, and given up. */
export const TRIES = 3;

export interface TransactionComposerOptions {
  readonly serverName: string;
  readonly edus: EduSources;
  readonly events: EventsToSend;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** What is to be put together. */
export interface WantedTransaction {
  readonly destination: string;
  /** The server was away for long: of rooms with many events it is sent the newest one. */
  readonly latestOnly: boolean;
  /** The last attempt, if it did not arrive. */
  readonly last: SentTransaction | undefined;
  /** Aborted when nobody waits for it any more. */
  readonly signal: AbortSignal;
}

/** What was taken of what waits for a server. */
interface Taken {
  readonly edus: TakenEdus;
  readonly events: EventsOnTheirWay;
  readonly isFull: boolean;
}

/**
 * Puts transactions together, of what waits for their servers. Their bodies are in memory only as long as they are under way, and all together
 * are bounded in bytes: few large ones leave room for many small ones. What cannot be read or written again and again is given up, so that
 * nothing waits for it.
 */
export class TransactionComposer {
  readonly #options: TransactionComposerOptions;
  readonly #budget = new SharedBudget(MAX_BYTES, PART);
  readonly #shares = new Shares(MAX_BYTES);
  readonly #gate = new Gate(CONCURRENCY);
  /** How often in a row nothing could be put together for a server. */
  readonly #failures = new Map<string, number>();
  readonly #givenUp: Counter;
  /** Names the transactions of this process that carry nothing that is kept. */
  readonly #run: string;
  #count = 0;
  #lastTurn: Promise<void> = Promise.resolve();

  constructor(options: TransactionComposerOptions) {
    this.#options = options;
    this.#run = options.random.string(12, 'abcdefghijklmnopqrstuvwxyz0123456789');
    this.#givenUp = countGivenUp(options.metrics);
    options.metrics.gaugeOf(
      'tsudoi_federation_outbound_bytes',
      'bytes of transactions that are under way to other servers',
      () => this.#budget.used,
    );
  }

  /**
   * Puts together what a server is sent next. What comes back holds its bytes until `release`.
   *
   * @returns `none` when nothing waits for it, or nobody for the transaction, `full` when there is no room for its body
   * @throws what made it fail; the next attempts may find out what it was, and give that up
   */
  async compose(wanted: WantedTransaction): Promise<OutboundTransaction | 'none' | 'full'> {
    await this.#turn();
    return this.#gate.run(async () => {
      const { destination, signal } = wanted;
      if (signal.aborted) return 'none';
      const bytes = Math.min(BYTES_OF_CHARACTER * MAX_CHARACTERS, this.#budget.free(this.#shares.of(destination)));
      if (bytes < LEAST_BYTES || !this.#budget.take(bytes, this.#shares.of(destination))) return 'full';
      let composed: OutboundTransaction | undefined;
      try {
        composed = await this.#compose(wanted, Math.floor(bytes / BYTES_OF_CHARACTER));
      } finally {
        this.#budget.give(bytes, this.#shares.of(destination));
      }
      if (composed === undefined || signal.aborted) return 'none';
      return this.#budget.take(bytesOf(composed), this.#shares.of(destination)) ? composed : 'full';
    });
  }

  /** A transaction is not under way any more. */
  release(destination: string, transaction: OutboundTransaction): void {
    this.#budget.give(bytesOf(transaction), this.#shares.of(destination));
  }

  /** Nothing is sent to a server any more. */
  forget(destination: string): void {
    this.#failures.delete(destination);
  }

  async #compose(wanted: WantedTransaction, characters: number): Promise<OutboundTransaction | undefined> {
    const { destination } = wanted;
    const failures = this.#failures.get(destination) ?? 0;
    try {
      const taken = await (failures < TRIES
        ? this.#take(wanted, characters)
        : this.#takeFirst(destination, characters));
      const transaction = this.#made(wanted, taken);
      this.#failures.delete(destination);
      return transaction;
    } catch (err) {
      if (!isOfDatabase(err)) this.#failures.set(destination, failures + 1);
      throw err;
    }
  }

  #made({ last }: WantedTransaction, { edus, events, isFull }: Taken): OutboundTransaction | undefined {
    if (edus.edus.length === 0 && events.pdus.length === 0) return undefined;
    const { clock, serverName } = this.#options;
    const id = transactionId([...edus.identity, ...events.identity], () => `${this.#run}-${(this.#count += 1)}`);
    const originServerTs = last?.id === id ? last.originServerTs : clock.now();
    const { delivered: edusDelivered } = edus;
    const { delivered: eventsDelivered } = events;
    return {
      id,
      originServerTs,
      body: bodyOf(serverName, originServerTs, events.pdus, edus.edus),
      isFull,
      delivered: async () => {
        await edusDelivered();
        eventsDelivered();
      },
    };
  }

  async #take({ destination, latestOnly }: WantedTransaction, characters: number): Promise<Taken> {
    const edus = await this.#options.edus.take(destination, MAX_EDUS, characters);
    const written = edus.edus.reduce((sum, { content }) => sum + JSON.stringify(content).length, 0);
    const left = Math.min(MAX_CHARACTERS, characters - written);
    const events =
      edus.holdsEventsBack || left <= 0
        ? NO_EVENTS
        : await this.#options.events.take(destination, { limit: MAX_PDUS, characters: left, latestOnly });
    const isFull = edus.holdsEventsBack || left <= 0 || events.pdus.length >= MAX_PDUS || edus.edus.length >= MAX_EDUS;
    return { edus, events, isFull };
  }

  /** The first EDU, or the first event where there is none, of which a transaction can be made. */
  async #takeFirst(destination: string, characters: number): Promise<Taken> {
    const { edus, events } = this.#options;
    const taken = await edus.takeFirst(destination, characters, (err) =>
      this.#giveUp(destination, 'federation_edus', err),
    );
    if (taken.edus.length > 0) return { edus: taken, events: NO_EVENTS, isFull: true };
    const first = await events.takeFirst(destination, (err) => this.#giveUp(destination, 'federation', err));
    return { edus: NO_EDUS, events: first, isFull: true };
  }

  #giveUp(destination: string, follower: string, err: unknown): void {
    this.#givenUp.inc({ follower });
    this.#options.logger.error(
      'a federation transaction could not be built again and again; a part of it is not sent',
      {
        destination,
        follower,
        err,
      },
    );
  }

  /** A turn of the event loop for each transaction: signing for hundreds of servers at once must not hold up requests. */
  #turn(): Promise<void> {
    const turn = this.#lastTurn.then(() => setImmediate());
    this.#lastTurn = turn;
    return turn;
  }
}

const bytesOf = ({ body }: OutboundTransaction): number => BYTES_OF_CHARACTER * body.length;
