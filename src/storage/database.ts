import type { Kysely } from 'kysely';
import type { PgPool } from 'bullmq';
import pg from 'pg';
import { IsolationLevel, MikroORM, type Options } from '@mikro-orm/postgresql';
import { Migrator } from '@mikro-orm/migrations';
import type { Clock } from '#src/kernel/clock.ts';
import { systemClock } from '#src/kernel/clock.ts';
import type { Logger } from '#src/kernel/logger.ts';
import type { Metrics } from '#src/kernel/metrics.ts';
import { Signal } from '#src/kernel/signal.ts';
import { columnTypes, countingClient } from './counting-client.ts';
import { discoverMigrations } from './migrator.ts';
import { OpenConnections } from './open-connections.ts';
import { sql, type Statement } from './statement.ts';
import type { SqlRow, Tx } from './transaction.ts';
import { TransactionContext } from './transaction-context.ts';

export { sql, type Statement } from './statement.ts';
export type { SqlRow, Tx } from './transaction.ts';

export interface DatabaseOptions {
  /** `postgresql://user:password@host:port/name`, or with `?host=/folder` for a Unix socket. */
  readonly url: string;
  /** What `defineEntity` made. */
  readonly entities?: NonNullable<Options['entities']>;
  /** How many connections at most; default 16. */
  readonly poolSize?: number;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly clock?: Clock;
}

/** Any number will do, as long as every node takes the same. */
const MIGRATION_LOCK = 7_305_817_001;

const SELECT_META = sql('server_meta_select', 'select value from server_meta where key = $1');
const CLAIM_META = sql(
  'server_meta_claim',
  'insert into server_meta (key, value) values ($1, $2) on conflict (key) do nothing',
);

/**
 * PostgreSQL: one pool, on which hand-written prepared SQL and MikroORM share connections and transactions.
 *
 * A database that goes away makes queries fail, never the process: later queries connect anew.
 */
export class Database {
  readonly #orm: MikroORM;
  readonly #pool: pg.Pool;
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #sent: { count: number };
  readonly #url: string;
  readonly #connections: OpenConnections;
  /** Fires after a commit that wrote jobs into the outbox. */
  readonly enqueued = new Signal<void>();

  private constructor(orm: MikroORM, pool: pg.Pool, options: DatabaseOptions, sent: { count: number }) {
    this.#orm = orm;
    this.#pool = pool;
    this.#logger = options.logger;
    this.#clock = options.clock ?? systemClock;
    this.#sent = sent;
    this.#url = options.url;
    this.#connections = new OpenConnections(options.logger);
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
    const orm = await MikroORM.init({
      entities: [...(options.entities ?? [])],
      // MikroORM wants a name for its own bookkeeping; the connection itself is made from the whole URL, sockets included.
      dbName: databaseName(options.url),
      driverOptions: {
        connectionString: options.url,
        max: Math.max(options.poolSize ?? 16, 3),
        Client,
        types: columnTypes,
        connectionTimeoutMillis: 10_000,
        idleTimeoutMillis: 60_000,
        keepAlive: true,
        application_name: 'tsudoi',
      },
      discovery: { warnWhenNoEntities: false },
      extensions: [Migrator],
      migrations: {
        tableName: 'migrations',
        migrationsList: await discoverMigrations(),
        transactional: true,
        allOrNothing: true,
        snapshot: false,
        disableForeignKeys: false,
      },
      logger: (message) => options.logger.debug(message),
      debug: false,
      colors: false,
      ensureDatabase: false,
    });
    const pool = (await orm.em.getConnection().getNativeClient()) as unknown as pg.Pool;
    options.metrics.gaugeOf('tsudoi_sql_pool_connections', 'connections to PostgreSQL', () => pool.totalCount);
    options.metrics.gaugeOf('tsudoi_sql_pool_idle', 'connections to PostgreSQL that do nothing', () => pool.idleCount);
    options.metrics.gaugeOf(
      'tsudoi_sql_pool_waiting',
      'queries that wait for a connection to PostgreSQL',
      () => pool.waitingCount,
    );
    const database = new Database(orm, pool, options, sent);
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
    const lock = await this.#pool.connect();
    try {
      await lock.query('select pg_advisory_lock($1)', [MIGRATION_LOCK]);
      const done = await this.#orm.migrator.up();
      for (const { name } of done) this.#logger.info('database migrated', { migration: name });
      await lock.query('select pg_advisory_unlock($1)', [MIGRATION_LOCK]);
      lock.release();
    } catch (error) {
      // Throwing the connection away gives the lock back whatever state it is in.
      lock.release(true);
      throw error;
    }
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
    const result = await this.#pool.query<R>({ name: statement.name, text: statement.text, values: [...values] });
    return result.rows;
  }

  /** Runs `use` in a transaction (read committed), commits when it resolves, rolls back when it rejects. */
  write<T>(use: (tx: Tx) => Promise<T>): Promise<T> {
    return this.#transaction(use, {});
  }

  /** Runs `use` on one snapshot (repeatable read, read only). */
  read<T>(use: (tx: Tx) => Promise<T>): Promise<T> {
    return this.#transaction(use, { isolationLevel: IsolationLevel.REPEATABLE_READ, readOnly: true });
  }

  async #transaction<T>(
    use: (tx: Tx) => Promise<T>,
    options: { isolationLevel?: IsolationLevel; readOnly?: boolean },
  ): Promise<T> {
    const connection = this.#orm.em.getConnection();
    const trx = (await connection.begin(options)) as unknown as Kysely<unknown>;
    const afterCommit: (() => void)[] = [];
    const context = new TransactionContext(trx, this.#orm, this.#clock, afterCommit, () => this.enqueued.emit());
    let result: T;
    try {
      result = await use(context);
      await context.flush();
      await connection.commit(trx as never);
    } catch (error) {
      try {
        await connection.rollback(trx as never);
      } catch (err) {
        // The connection is gone, and the transaction with it. What matters to the caller is why it failed.
        this.#logger.debug('a transaction could not be rolled back', { err });
      }
      throw error;
    }
    for (const callback of afterCommit) {
      try {
        callback();
      } catch (err) {
        this.#logger.error('a listener failed after a commit', { err });
      }
    }
    return result;
  }

  /**
   * Connections for the job queues, whose tables lie in a schema of their own: what they need of PostgreSQL (LISTEN on a connection
   * for ever, bigints as text, a search path) is not what everybody else needs. Whoever asks for them ends them.
   *
   * @param size connections at most; each worker keeps one to listen on
   */
  queueConnections(size: number): PgPool {
    const url = new URL(this.#url);
    url.searchParams.set('options', `${url.searchParams.get('options') ?? ''} -c search_path=bullmq`.trim());
    const pool = new pg.Pool({
      connectionString: url.href,
      max: size,
      connectionTimeoutMillis: 10_000,
      idleTimeoutMillis: 60_000,
      keepAlive: true,
      application_name: 'tsudoi jobs',
    });
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
    await this.#orm.close(true);
    await this.#connections.closed();
  }
}

/** The database's name out of a URL; a URL without one means PostgreSQL's default. */
function databaseName(url: string): string {
  const path = new URL(url).pathname.slice(1);
  return path === '' ? 'postgres' : decodeURIComponent(path);
}
