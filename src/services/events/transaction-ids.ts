import { hash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { Transaction } from './event-draft.ts';

/** The database's key of a transaction: a digest in the form of a UUID. */
export const transactionKey = (txn: Transaction): string => {
  const digest = hash('sha256', JSON.stringify([txn.userId, txn.deviceId ?? null, txn.scope, txn.txnId]), 'hex');
  return `${digest.slice(0, 8)}-${digest.slice(8, 12)}-${digest.slice(12, 16)}-${digest.slice(16, 20)}-${digest.slice(20, 32)}`;
};

/**
 * Transactions of late: what was answered, or is about to be, and which device sent which event.
 * Client-Server API, "Transaction identifiers".
 */
export class TransactionIds {
  readonly #answers = new LRUCache<string, Promise<string>>({ max: 100_000 });
  readonly #senders = new LRUCache<number, Transaction>({ max: 100_000 });

  /** The event id that a transaction made or is making; `make` runs when it is new, and again after it failed. */
  once(key: string, make: () => Promise<string>): Promise<string> {
    const known = this.#answers.get(key);
    if (known !== undefined) return known;
    const answer = make();
    this.#answers.set(key, answer);
    answer.catch(() => {
      if (this.#answers.get(key) === answer) this.#answers.delete(key);
    });
    return answer;
  }

  remember(event: number, txn: Transaction): void {
    this.#senders.set(event, txn);
  }

  /** The transaction id of an event, for the device that sent it and nobody else. */
  transactionIdFor(event: number, userId: string, deviceId: string | undefined): string | undefined {
    const txn = this.#senders.get(event);
    return txn !== undefined && txn.userId === userId && txn.deviceId === deviceId ? txn.txnId : undefined;
  }
}
