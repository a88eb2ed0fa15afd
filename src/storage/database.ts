import { Lazy } from '#src/kernel/caches/lazy.ts';
import type { PgPool } from 'bullmq';
import pg from 'pg';
import type { Clock } from '#src/kernel/clock.ts';
import { systemClock } from '#src/kernel/clock.ts';
import type { Logger } from '#src/kernel/logger.ts';
import type { Counter, Histogram, Metrics } from '#src/kernel/metrics.ts';
import { Signal, type Subscribable } from '#src/kernel/signal.ts';
import { ConnectionLine } from './connection-line.ts';
import { LargeWrites } from './large-writes.ts';
import { databaseAnswered } from '#src/kernel/event-loop/work.ts';
import { columnTypes, countingClient, MarkingClient } from './counting-client.ts';
import { isDatabaseAway, isDeadlock, isOfDatabase } from './failures.ts';
import { migrationNames } from './migrator.ts';
import { OpenConnections } from './open-connections.ts';
import type { Orm } from './orm.ts';
import { sql, type Statement } from './statement.ts';
import type { SqlRow, Tx } from './transaction.ts';
import { TransactionContext } from './transaction-context.ts';

export { sql, type Statement } from './statement.ts';
export type { SqlRow, Tx } from './transaction.ts';

export interface DatabaseOptions {
  /** `postgresql://user:password@host:port/name`, or with `?host=/folder` for a Unix socket. */
  readonly url: string;
  /** How many connections at most; default 16. */
  readonly poolSize?: number;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly clock?: Clock;
}

/** Seconds. */
const STATEMENT_SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5];
/** Attempts for a transaction that conflicts with others. */
const MAX_TRIES = 4;
/** Milliseconds to wait for a connection. */
export const CONNECTION_TIMEOUT_MS = 10_000;
/** An arbitrary number, the same for every node. */
const MIGRATION_LOCK = 7_305_817_001;

const SELECT_META = sql('server_meta_select', 'select value from server_meta where key = $1');
const CLAIM_META = sql(
  'server_meta_claim',
  'insert into server_meta (key, value) values ($1, $2) on conflict (key) do nothing',
);

/**
 * PostgreSQL: one pool, on which hand-written prepared SQL and entities share connections and transactions.
 *
 * A database that goes away makes queries fail, never the process: later queries connect anew.
 */
export class Database {
  readonly #pool: pg.Pool;
  readonly #line: ConnectionLine;
  readonly #largeWrites = new LargeWrites(CONNECTION_TIMEOUT_MS);
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #sent: { count: number };
  readonly #seconds: Histogram;
  readonly #failures: Counter;
  readonly #url: string;
  readonly #connections: OpenConnections;
  readonly #orm = new Lazy(() => this.#openOrm());
  /** Fires after a commit that wrote jobs into the outbox. */
  readonly enqueued = new Signal<void>();
  /**
   * Fires when a connection was lost: PostgreSQL may have crashed, and with it what was committed without waiting for the disk (`UNHURRIED`).
   */
  readonly connectionLost: Subscribable<void>;
  readonly #wakeRelay = (): void => this.enqueued.emit();

  private constructor(pool: pg.Pool, options: DatabaseOptions, sent: { count: number }) {
    this.#pool = pool;
    this.#line = new ConnectionLine({ connections: pool.options.max, reserved: 1 }, CONNECTION_TIMEOUT_MS);
    this.#seconds = options.metrics.histogram(
      'tsudoi_sql_statement_seconds',
      'time from asking for a statement outside of transactions to its answer, waiting for a connection included',
      STATEMENT_SECONDS,
    );
    this.#failures = options.metrics.counter(
      'tsudoi_sql_failures_total',
      'statements and transactions that failed for reasons of the database itself',
    );
    this.#logger = options.logger;
    this.#clock = options.clock ?? systemClock;
    this.#sent = sent;
    this.#url = options.url;
    this.#connections = new OpenConnections(options.logger);
    this.connectionLost = this.#connections.lost;
  }

  /**
   * Connects, and fails if the database does not answer.
   *
   * @throws if it cannot be reached or refuses us
   */
  static async open(options: DatabaseOptions): Promise<Database> {
    const sent = { count: 0 };
    const counter = options.metrics.counter('tsudoi_sql_statements_total', 'SQL statements sent to PostgreSQL');
    const Client = countingClient(() => {
      sent.count += 1;
      counter.inc();
    });
    const pool = new pg.Pool({
      connectionString: options.url,
      max: Math.max(options.poolSize ?? 16, 3),
      Client,
      types: columnTypes as pg.CustomTypesConfig,
      connectionTimeoutMillis: CONNECTION_TIMEOUT_MS,
      idleTimeoutMillis: 60_000,
      keepAlive: true,
      application_name: 'tsudoi',
    });
    const database = new Database(pool, options, sent);
    options.metrics.gaugeOf('tsudoi_sql_pool_connections', 'connections to PostgreSQL', () => pool.totalCount);
    options.metrics.gaugeOf('tsudoi_sql_pool_limit', 'limit of tsudoi_sql_pool_connections', () => pool.options.max);
    options.metrics.gaugeOf('tsudoi_sql_pool_idle', 'connections to PostgreSQL that do nothing', () => pool.idleCount);
    options.metrics.gaugeOf(
      'tsudoi_sql_pool_waiting',
      'queries that wait for a connection to PostgreSQL',
      () => pool.waitingCount + database.#line.waiting + database.#largeWrites.waiting,
    );
    database.#connections.watch(pool);
    try {
      await pool.query('select 1');
    } catch (error) {
      await database.close();
      throw error;
    }
    return database;
  }

  /** Brings the schema up to date. An advisory lock makes nodes that start together wait for each other. */
  async migrate(): Promise<void> {
    if (await this.#isUpToDate()) return;
    const lock = await this.#pool.connect();
    try {
      await lock.query('select pg_advisory_lock($1)', [MIGRATION_LOCK]);
      const { runMigrations } = await import('./orm.ts');
      const done = await runMigrations(() => this.#pool.connect(), this.#logger);
      for (const migration of done) this.#logger.info('database migrated', { migration });
      await lock.query('select pg_advisory_unlock($1)', [MIGRATION_LOCK]);
      lock.release();
    } catch (error) {
      // Throwing the connection away gives the lock back whatever state it is in.
      lock.release(true);
      throw error;
    }
  }

  async #isUpToDate(): Promise<boolean> {
    const { rows } = await this.#pool.query<{ made: string | null }>(`select to_regclass('migrations') as made`);
    if (rows[0]?.made === null) return false;
    const done = await this.#pool.query<{ name: string }>('select name from migrations');
    const names = new Set(done.rows.map(({ name }) => name));
    return (await migrationNames()).every((name) => names.has(name));
  }

  /**
   * Ties the database to `serverName` on first use.
   *
   * @throws if it was made for another name: every event, user and room in it carries that name
   */
  async claim(serverName: string): Promise<void> {
    await this.query(CLAIM_META, ['server_name', serverName]);
    const [row] = await this.query<{ value: string }>(SELECT_META, ['server_name']);
    if (row?.value !== serverName) {
      throw new Error(
        `server_name is ${serverName}, but this database belongs to ${row?.value}. ` +
          'The name is fixed for the life of a database: set it back, or use another data_dir or database.url.',
      );
    }
  }

  /** One prepared statement on a pooled connection, in a transaction of its own. */
  async query<R extends object = SqlRow>(statement: Statement, values: readonly unknown[] = []): Promise<R[]> {
    const began = systemClock.monotonic();
    let rows: R[];
    let rowCount: number | null;
    try {
      const waiting = this.#line.take();
      if (waiting !== undefined) await waiting;
      try {
        ({ rowCount, rows } = await this.#pool.query<R>({
          name: statement.name,
          text: statement.text,
          values: [...values],
        }));
      } finally {
        this.#line.give();
      }
    } catch (error) {
      this.#noteFailure(error);
      throw error;
    } finally {
      this.#seconds.observe((systemClock.monotonic() - began) / 1_000);
    }
    const waiting = databaseAnswered(rowCount ?? rows.length);
    if (waiting !== undefined) await waiting;
    return rows;
  }

  #noteFailure(error: unknown): void {
    if (isOfDatabase(error)) this.#failures.inc();
    if (isDatabaseAway(error)) this.#connections.lost.emit();
  }

  /** Runs `use` in a transaction (read committed), commits when it resolves, rolls back when it rejects. */
  write<T>(use: (tx: Tx) => Promise<T>): Promise<T> {
    return this.#largeWrites.run(() => this.#transaction('begin', use));
  }

  /** As `write`, and again after a conflict with another transaction (a deadlock). */
  async writeAgain<T>(use: (tx: Tx) => Promise<T>): Promise<T> {
    for (let tried = 1; ; tried++) {
      try {
        return await this.write(use);
      } catch (error) {
        if (tried === MAX_TRIES || !isDeadlock(error)) throw error;
      }
    }
  }

  /** Runs `use` on one snapshot (repeatable read, read only). */
  read<T>(use: (tx: Tx) => Promise<T>): Promise<T> {
    return this.#transaction('begin isolation level repeatable read read only', use);
  }

  async #transaction<T>(begin: string, use: (tx: Tx) => Promise<T>): Promise<T> {
    const client = await this.#connect();
    const context = new TransactionContext({
      client,
      orm: () => this.#orm.get(),
      clock: this.#clock,
      wakeRelay: this.#wakeRelay,
    });
    let result: T;
    let isBroken = false;
    try {
      await client.query(begin);
      result = await use(context);
      await context.flush();
      context.close();
      const { command } = await client.query('commit');
      // PostgreSQL answers so when an earlier statement had failed and the error was swallowed.
      if (command !== 'COMMIT') throw new Error('the transaction was rolled back: one of its statements had failed');
    } catch (error) {
      this.#noteFailure(error);
      context.close();
      await client.query('rollback').catch((err: unknown) => {
        // The connection is gone, and the transaction with it. What matters to the caller is why it failed.
        this.#logger.debug('a transaction could not be rolled back', { err });
        isBroken = true;
      });
      throw error;
    } finally {
      client.release(isBroken);
      this.#line.give();
    }
    for (const callback of context.close()) {
      try {
        callback();
      } catch (err) {
        this.#logger.error('an after-commit listener threw', { err });
      }
    }
    return result;
  }

  /** A connection of the pool; `give` of the line gives its place to the next one. */
  async #connect(): Promise<pg.PoolClient> {
    const waiting = this.#line.take();
    if (waiting !== undefined) await waiting;
    try {
      return await this.#pool.connect();
    } catch (error) {
      this.#line.give();
      throw error;
    }
  }

  async #openOrm(): Promise<Orm> {
    const { Orm: Opened } = await import('./orm.ts');
    return Opened.open(() => this.#pool.connect(), this.#logger);
  }

  /**
   * Connections for the job queues, whose tables lie in a schema of their own: what they need of PostgreSQL (LISTEN on a connection
   * for ever, bigints as text, a search path) is not what others need. The caller ends them.
   *
   * @param size connections at most; each worker keeps one to listen on
   */
  queueConnections(size: number): PgPool {
    const url = new URL(this.#url);
    url.searchParams.set('options', `${url.searchParams.get('options') ?? ''} -c search_path=bullmq`.trim());
    const pool = new pg.Pool({
      connectionString: url.href,
      max: size,
      Client: MarkingClient,
      connectionTimeoutMillis: 10_000,
      idleTimeoutMillis: 60_000,
      keepAlive: true,
      application_name: 'tsudoi jobs',
    });
    // Each queue and each worker listens for its errors, and there are more of them than Node takes for usual.
    pool.setMaxListeners(0);
    this.#connections.watch(pool);
    return pool as unknown as PgPool;
  }

  /**
   * Runs a statement that no transaction can hold (VACUUM, REINDEX CONCURRENTLY), on a connection that is thrown away afterwards,
   * settings and all.
   */
  async maintain(settings: readonly string[], statement: string): Promise<void> {
    const client = await this.#pool.connect();
    try {
      for (const setting of settings) await client.query(setting);
      await client.query(statement);
    } finally {
      client.release(true);
    }
  }

  /** How many statements were sent so far, BEGIN and COMMIT included. */
  statements(): number {
    return this.#sent.count;
  }

  /** Waits for running queries, then closes every connection. */
  async close(): Promise<void> {
    await this.#pool.end();
    await this.#connections.closed();
  }
}
