import { CompiledQuery, type Kysely } from 'kysely';
import type { EntityManager, MikroORM } from '@mikro-orm/postgresql';
import type { Clock } from '#src/kernel/clock.ts';
import { sql, type Statement } from './statement.ts';
import type { SqlRow, Tx } from './transaction.ts';

const INSERT_OUTBOX = sql('outbox_insert', 'insert into outbox (job, payload, created_ts) values ($1, $2, $3)');

/** A transaction that is open: prepared SQL, entities, and what is done after its commit. */
export class TransactionContext implements Tx {
  readonly #trx: Kysely<unknown>;
  readonly #orm: MikroORM;
  readonly #clock: Clock;
  readonly #afterCommit: (() => void)[];
  readonly #wakeRelay: () => void;
  #em: EntityManager | undefined;

  constructor(trx: Kysely<unknown>, orm: MikroORM, clock: Clock, afterCommit: (() => void)[], wakeRelay: () => void) {
    this.#trx = trx;
    this.#orm = orm;
    this.#clock = clock;
    this.#afterCommit = afterCommit;
    this.#wakeRelay = wakeRelay;
  }

  async query<R extends object = SqlRow>(statement: Statement, values: readonly unknown[] = []): Promise<R[]> {
    const result = await this.#trx.executeQuery<R>(CompiledQuery.raw(statement.text, [...values]));
    return result.rows;
  }

  get em(): EntityManager {
    if (this.#em === undefined) {
      this.#em = this.#orm.em.fork();
      this.#em.setTransactionContext(this.#trx);
    }
    return this.#em;
  }

  async flush(): Promise<void> {
    await this.#em?.flush();
  }

  afterCommit(callback: () => void): void {
    this.#afterCommit.push(callback);
  }

  async enqueue(job: string, payload: unknown): Promise<void> {
    await this.query(INSERT_OUTBOX, [job, JSON.stringify(payload), this.#clock.now()]);
    if (!this.#afterCommit.includes(this.#wakeRelay)) this.#afterCommit.push(this.#wakeRelay);
  }
}
