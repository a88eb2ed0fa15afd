import type pg from 'pg';
import type { Clock } from '#src/kernel/clock.ts';
import { countAnswer } from '#src/kernel/event-loop/work.ts';
import type { Entities, Orm } from './orm.ts';
import { sql, type Statement } from './statement.ts';
import type { JobKind, SqlRow, Tx } from './transaction.ts';

const INSERT_OUTBOX = sql('outbox_insert', 'insert into outbox (job, payload, created_ts) values ($1, $2, $3)');

export interface TransactionContextOptions {
  /** On which the transaction is open. */
  readonly client: pg.PoolClient;
  readonly orm: () => Promise<Orm>;
  readonly clock: Clock;
  /** Called after the commit of a transaction that enqueued something. */
  readonly wakeRelay: () => void;
}

/** A transaction that is open: prepared SQL, entities, and what is done after its commit. */
export class TransactionContext implements Tx {
  readonly #options: TransactionContextOptions;
  readonly #afterCommit: (() => void)[] = [];
  #entities: Promise<Entities> | undefined;
  #isOpen = true;

  constructor(options: TransactionContextOptions) {
    this.#options = options;
  }

  async query<R extends object = SqlRow>(statement: Statement, values: readonly unknown[] = []): Promise<R[]> {
    const { name, text } = statement;
    const { rowCount, rows } = await this.#client().query<R>({ name, text, values: [...values] });
    // What holds locks does not wait for others.
    countAnswer(rowCount ?? rows.length);
    return rows;
  }

  entities(): Promise<Entities> {
    this.#entities ??= this.#options.orm().then((orm) => orm.on(this.#client()));
    return this.#entities;
  }

  afterCommit(callback: () => void): void {
    this.#afterCommit.push(callback);
  }

  async enqueue<Payload>({ name }: JobKind<Payload>, payload: Payload): Promise<void> {
    const { clock, wakeRelay } = this.#options;
    await this.query(INSERT_OUTBOX, [name, JSON.stringify(payload), clock.now()]);
    if (!this.#afterCommit.includes(wakeRelay)) this.#afterCommit.push(wakeRelay);
  }

  /** Writes what the entities still hold. */
  async flush(): Promise<void> {
    await (await this.#entities)?.em.flush();
  }

  /** Ends its use: the connection may be in another transaction from now on. Returns what is called after a commit. */
  close(): readonly (() => void)[] {
    this.#isOpen = false;
    return this.#afterCommit;
  }

  #client(): pg.PoolClient {
    if (!this.#isOpen) throw new Error('the transaction has ended');
    return this.#options.client;
  }
}
