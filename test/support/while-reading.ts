import type { Database } from '#src/storage/database.ts';

/**
 * Something happens between a read of the database and its result.
 *
 * @param name the statement that reads: its next execution; the next one of any statement when left out
 */
export const whileReading = (database: Database, happens: () => Promise<unknown> | void, name?: string): void => {
  const query = database.query.bind(database);
  database.query = async (...args: Parameters<typeof query>) => {
    if (name !== undefined && args[0].name !== name) return (await query(...args)) as never;
    database.query = query;
    const rows = await query(...args);
    await happens();
    return rows as never;
  };
};
