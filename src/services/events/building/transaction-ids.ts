import { hash } from 'node:crypto';
import { AnsweredBatches } from '#src/kernel/concurrency/batches.ts';
import type { Clock } from '#src/kernel/clock.ts';
import { Lazy } from '#src/kernel/caches/lazy.ts';
import { RecentMap } from '#src/kernel/caches/recent-map.ts';
import type { Database } from '#src/storage/database.ts';
import { eventsOfTxns, hasTxns } from '#src/storage/commit/transaction-ids.ts';
import type { Transaction } from './event-draft.ts';
import { isUnavailable } from '#src/storage/failures.ts';

/**
 * For how long after its start a process asks the database for transactions that it does not remember. Clients retry within
 * minutes; a later request still finds that the transaction id is taken when the event is written.
 */
const RECALL_MS = 15 * 60_000;
const RECALLED_AT_ONCE = 1_000;

/** The database's key of a transaction: a digest in the form of a UUID. */
export const transactionKey = (txn: Transaction): string => {
  const parts = [txn.userId, txn.deviceId ?? null, txn.scope, txn.txnId];
  const digest = hash('sha256', JSON.stringify(txn.client === undefined ? parts : [...parts, txn.client]), 'hex');
  return `${digest.slice(0, 8)}-${digest.slice(8, 12)}-${digest.slice(12, 16)}-${digest.slice(16, 20)}-${digest.slice(20, 32)}`;
};

/**
 * Recent transactions and their event ids. Which device sent an event is stored with the event.
 * Client-Server API, "Transaction identifiers".
 */
export class TransactionIds {
  /** The event ids, promised until they are there. */
  readonly #answers = new RecentMap<string, string | Promise<string>>('transaction_ids', 20_000);
  readonly #database: Database;
  readonly #clock: Clock;
  #recallUntil = Infinity;
  /** Whether it is known that there are none from before. */
  #isEmpty = false;
  /** Whether there are any from before. */
  readonly #hasAny = new Lazy(async () => {
    const hasAny = await hasTxns(this.#database);
    this.#isEmpty = !hasAny;
    return hasAny;
  });
  readonly #recall: AnsweredBatches<string, string | undefined>;

  constructor(database: Database, clock: Clock) {
    this.#database = database;
    this.#clock = clock;
    this.#recall = new AnsweredBatches({
      name: 'transactions of before',
      most: RECALLED_AT_ONCE,
      isHopeless: isUnavailable,
      work: async (keys) => {
        const found = await eventsOfTxns(database, keys);
        return (key) => found.get(key);
      },
    });
  }

  /** The event that a transaction made before this process began. Lookups of one moment share a statement; undefined where none is needed. */
  earlier(key: string): Promise<string | undefined> | undefined {
    if (this.#isEmpty || this.#clock.monotonic() > this.#recallUntil) return undefined;
    return this.#earlier(key);
  }

  async #earlier(key: string): Promise<string | undefined> {
    if (this.#recallUntil === Infinity) this.#recallUntil = this.#clock.monotonic() + RECALL_MS;
    return (await this.#hasAny.get()) ? this.#recall.ask(key) : undefined;
  }

  /** The event id that a transaction made or is making; `make` runs when it is new, and again after it failed. */
  once(key: string, make: () => Promise<string>): Promise<string> {
    const known = this.#answers.get(key);
    if (known !== undefined) return Promise.resolve(known);
    const answer = make();
    this.#answers.set(key, answer);
    return answer.then(
      (eventId) => {
        // It is kept for long, and a promise weighs more than what came of it.
        this.#answers.set(key, eventId);
        return eventId;
      },
      (error: unknown) => {
        if (this.#answers.get(key) === answer) this.#answers.delete(key);
        throw error;
      },
    );
  }

  /** The event that the database says a transaction made: for what must not be refused only because it was forgotten here. */
  written(key: string): Promise<string | undefined> {
    return this.#recall.ask(key);
  }

  /** The event that a transaction made or is making; undefined when it is new, or failed. */
  async answered(key: string): Promise<string | undefined> {
    const known = this.#answers.get(key);
    if (known === undefined) return this.earlier(key);
    return typeof known === 'string' ? known : known.catch(() => undefined);
  }
}
