import { Migrator } from '@mikro-orm/migrations';
import { type EntityManager, MikroORM, type Options } from '@mikro-orm/postgresql';
import { Kysely, PostgresDialect } from 'kysely';
import type pg from 'pg';
import type { Logger } from '#src/kernel/logger.ts';
import * as entities from './entities/entities.ts';
import { loadMigrations } from './migrator.ts';

/**
 * MikroORM, on connections that are not its own. Imported when it is first needed and never before (`import('./orm.ts')`): loading it takes
 * a fifth of the time of a start and 20 MiB, and most of what a server does needs no entities.
 */

/** What MikroORM's query builder needs of a pool. */
interface Connections {
  connect(): Promise<pg.PoolClient>;
  end(): Promise<void>;
}

const dialectOn = (connections: Connections): PostgresDialect =>
  new PostgresDialect({ pool: connections as unknown as pg.Pool });

const open = (connect: () => Promise<pg.PoolClient>, logger: Logger, more: Options): Promise<MikroORM> =>
  MikroORM.init({
    // A name for its own bookkeeping.
    dbName: 'tsudoi',
    // The owner of the pool ends it.
    driverOptions: dialectOn({ connect, end: () => Promise.resolve() }),
    discovery: { warnWhenNoEntities: false },
    logger: (message) => logger.debug(message),
    debug: false,
    colors: false,
    ensureDatabase: false,
    ...more,
  });

/** An entity manager, and the entities to use it with. */
export type Entities = typeof entities & { readonly em: EntityManager };

/** Entities in transactions that the caller opened. */
export class Orm {
  readonly #orm: MikroORM;

  private constructor(orm: MikroORM) {
    this.#orm = orm;
  }

  static async open(connect: () => Promise<pg.PoolClient>, logger: Logger): Promise<Orm> {
    return new Orm(await open(connect, logger, { entities: Object.values(entities) }));
  }

  /** Entities in the transaction that is open on `client`, with an identity map of their own. */
  on(client: pg.PoolClient): Entities {
    const em = this.#orm.em.fork();
    const query = client.query.bind(client);
    const borrowed = { query, release: () => undefined } as unknown as pg.PoolClient;
    const dialect = dialectOn({ connect: () => Promise.resolve(borrowed), end: () => Promise.resolve() });
    em.setTransactionContext(new Kysely({ dialect }));
    return { ...entities, em };
  }
}

/**
 * Runs the migrations that were not run yet, all of them or none.
 *
 * @returns their names
 */
export async function runMigrations(connect: () => Promise<pg.PoolClient>, logger: Logger): Promise<string[]> {
  const orm = await open(connect, logger, {
    extensions: [Migrator],
    migrations: {
      tableName: 'migrations',
      migrationsList: await loadMigrations(),
      transactional: true,
      allOrNothing: true,
      snapshot: false,
      disableForeignKeys: false,
    },
  });
  try {
    return (await orm.migrator.up()).map(({ name }) => name);
  } finally {
    await orm.close(true);
  }
}
