import { LRUCache } from 'lru-cache';
import { atMost } from '#src/kernel/caches/at-most.ts';
import type { Logger } from '#src/kernel/logger.ts';
import type { FederationClient } from '#src/remote/federation/federation-client.ts';
import type { FederationFailure, FederationResult } from '#src/remote/federation/federation-result.ts';
import type { FederationTimeouts } from '#src/remote/federation/federation-request.ts';
import type { Outcome } from '#src/services/delivery/queue/ports.ts';
import type { OutboundTransaction, SentTransaction } from './outbound-transaction.ts';
import type { TransactionComposer } from './transaction-composer.ts';

/** After so many failures in a row, about a minute, a server was away for long. */
const LONG_FAILURES = 7;
/** After so many, more than a quarter of an hour, it is checked whether it shares any room with this server. */
const GONE_FAILURES = 52;
/** After so many what is of the moment is not kept for it any more, nor is which transaction was tried. */
const AWAY_FAILURES = 3;
/** Servers of which it is remembered that they were reached last. */
const MAX_PROVEN = 20_000;
const TIMEOUTS = { acceptMs: 10_000, headersMs: 60_000, totalMs: 90_000 };
/** The first attempt is short: many of a thousand unknown servers may be dead, and the others wait behind them. */
const TIMEOUTS_OF_UNKNOWN = { ...TIMEOUTS, acceptMs: 5_000 };
const TIMEOUTS_OF_FAILING = { acceptMs: 5_000, headersMs: 20_000, totalMs: 30_000 };
/** A server that is tried once in a while gets more time. */
const TIMEOUTS_OF_GONE = { ...TIMEOUTS_OF_FAILING, acceptMs: 10_000 };
/** The pause after an error of this server itself, and while there is no room for one more transaction. */
const INTERNAL_ERROR_PAUSE_MS = 2_000;
const FULL_MS = 1_000;
/** Answers name the events that were refused. */
const MAX_ANSWER_BYTES = 262_144;
/** Statuses of refusals that say nothing about what was sent. */
const NOT_ABOUT_CONTENT: ReadonlySet<number> = new Set([401, 403, 404, 405, 408, 421, 425, 429]);

/** A transaction for a server. It is put together when there is a connection to the server. */
export interface Sending {
  readonly position: number;
  /** The last attempt; its content is not kept. */
  last: SentTransaction | undefined;
}

export interface TransactionDeliveryOptions {
  readonly client: Pick<FederationClient, 'request'>;
  readonly composer: TransactionComposer;
  readonly logger: Logger;
  /** How often in a row a server could not be reached. */
  readonly failuresOf: (destination: string) => number;
  /** Whether a server shares a room with this one. */
  readonly sharesRoom: (destination: string) => Promise<boolean>;
  /** A server could not be reached several times. */
  readonly away: (destination: string) => void;
  /** Nothing is sent to a server any more, and nothing kept for it. */
  readonly forget: (destination: string) => Promise<void>;
}

/** Sends transactions, and says what came of it. Server-Server API, "Transactions". */
export class TransactionDelivery {
  readonly #options: TransactionDeliveryOptions;
  /** What has not arrived, by destination. */
  readonly #held = new Map<string, Sending>();
  /** Servers that were away for long. */
  readonly #returning = new Set<string>();
  /** Servers that were reached last: they do not wait for servers that take long to fail. */
  readonly #proven = new LRUCache<string, true>(atMost(MAX_PROVEN));
  /** Ends attempts to reach servers that could not be reached last; they are not waited for when the server stops. */
  readonly #trying = new AbortController();
  /** The same for servers of which nothing is known. */
  readonly #asking = new AbortController();

  constructor(options: TransactionDeliveryOptions) {
    this.#options = options;
  }

  /** Whether a server was reached last. */
  isProven(destination: string): boolean {
    return this.#proven.has(destination);
  }

  /** What has not arrived at a server, if it was tried. */
  held(destination: string): Sending | undefined {
    return this.#held.get(destination);
  }

  /** What was sent to a server last is given up: it is not sent again. */
  async giveUp(destination: string): Promise<void> {
    const held = this.#held.get(destination);
    this.#held.delete(destination);
    await held?.last?.delivered();
  }

  /** Nothing waits for a server. */
  rest(destination: string): void {
    this.#returning.delete(destination);
  }

  /** Nothing is sent to a server any more. */
  forget(destination: string): void {
    this.#held.delete(destination);
    this.#returning.delete(destination);
    this.#options.composer.forget(destination);
  }

  /** Ends attempts to reach servers that could not be reached last. */
  stopTrying(): void {
    this.#trying.abort();
  }

  /** Ends attempts to reach servers of which nothing is known. */
  stopAsking(): void {
    this.#asking.abort();
  }

  /** Sends what waits for a server. */
  async send(destination: string, sending: Sending, signal: AbortSignal): Promise<Outcome> {
    const { client, composer, failuresOf, logger } = this.#options;
    const failures = failuresOf(destination);
    const firstAttempt = this.#proven.has(destination) ? signal : this.#asking.signal;
    const attempt = failures > 0 ? this.#trying.signal : firstAttempt;
    if (failures >= LONG_FAILURES) this.#returning.add(destination);
    let composed: OutboundTransaction | undefined;
    /** The request may end, with its time limit, while a transaction is still put together for it. */
    let isOver = false;
    /** Why nothing was sent. */
    let postponed: { readonly afterMs: number } | undefined;
    let result: FederationResult;
    try {
      result = await client.request({
        destination,
        method: 'PUT',
        compose: async (givenUp) => {
          try {
            const latestOnly = this.#returning.has(destination);
            const transaction = await composer.compose({
              destination,
              latestOnly,
              last: sending.last,
              signal: givenUp,
            });
            if (transaction === 'full') postponed = { afterMs: FULL_MS };
            if (transaction === 'none' || transaction === 'full') return undefined;
            if (isOver) {
              composer.release(destination, transaction);
              return undefined;
            }
            composed = transaction;
          } catch (err) {
            postponed = { afterMs: INTERNAL_ERROR_PAUSE_MS };
            logger.error('a federation transaction could not be built; trying again', { destination, err });
            return undefined;
          }
          const { body, delivered, id, isFull, originServerTs } = composed;
          sending.last = { id, originServerTs, isFull, delivered };
          this.#held.set(destination, sending);
          return { path: `/_matrix/federation/v1/send/${encodeURIComponent(id)}`, body };
        },
        maxBodyBytes: MAX_ANSWER_BYTES,
        timeouts: this.#timeoutsFor(destination, failures),
        signal: attempt,
        isUrgent: true,
      });
    } finally {
      isOver = true;
      if (composed !== undefined) composer.release(destination, composed);
    }
    if (postponed !== undefined) return { kind: 'later', ...postponed };
    // The content of an answer does not matter: the transaction arrived, and a refused event would be refused again.
    if (result.ok || result.kind === 'too_large' || result.kind === 'busy') {
      this.#held.delete(destination);
      this.#proven.set(destination, true);
      if (composed === undefined) return { kind: 'done' };
      await composed.delivered();
      return { kind: 'done', hasMore: composed.isFull };
    }
    this.#proven.delete(destination);
    if (attempt !== signal && attempt.aborted) return { kind: 'later', afterMs: INTERNAL_ERROR_PAUSE_MS };
    return this.#outcomeOf(destination, sending.last, failures, result);
  }

  #timeoutsFor(destination: string, failures: number): Partial<FederationTimeouts> {
    if (failures >= GONE_FAILURES) return TIMEOUTS_OF_GONE;
    if (failures > 0) return TIMEOUTS_OF_FAILING;
    return this.#proven.has(destination) ? TIMEOUTS : TIMEOUTS_OF_UNKNOWN;
  }

  async #outcomeOf(
    destination: string,
    transaction: SentTransaction | undefined,
    failures: number,
    failure: FederationFailure,
  ): Promise<Outcome> {
    const { away, forget, logger, sharesRoom } = this.#options;
    const { kind, retryAfterMs, status = 0 } = failure;
    if (kind === 'disabled' || kind === 'denied') {
      await forget(destination);
      return { kind: 'gone' };
    }
    if (kind === 'unreachable' && retryAfterMs !== undefined) return { kind: 'later', afterMs: retryAfterMs };
    if (kind === 'refused' && status >= 400 && status < 500 && !NOT_ABOUT_CONTENT.has(status)) {
      logger.warn('another server refuses a transaction', {
        destination,
        transaction: transaction?.id,
        status,
        errcode: failure.errcode,
        reason: failure.error,
      });
      return { kind: 'refused' };
    }
    if (failures + 1 >= AWAY_FAILURES) {
      this.#held.delete(destination);
      away(destination);
    }
    if (failures >= GONE_FAILURES && !(await sharesRoom(destination))) {
      await forget(destination);
      return { kind: 'gone' };
    }
    return retryAfterMs === undefined ? { kind: 'retry' } : { kind: 'retry', afterMs: retryAfterMs };
  }
}
