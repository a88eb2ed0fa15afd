import type { Database } from '../database.ts';
import { sql } from '../statement.ts';

const PAGE = 8192;
/** Pages that are emptied in one transaction. */
const WINDOW = 16;
/** A row is moved until it has left its page; each version of it takes a place there until the transaction ends. */
const MOVES = 40;

/** Tables in which purges leave free space. */
export const PURGED_TABLES = ['events', 'state_delta', 'search_docs'] as const;
export type PurgedTable = (typeof PURGED_TABLES)[number];

const onTables = (
  make: (table: PurgedTable) => string,
  name: string,
): ReadonlyMap<PurgedTable, ReturnType<typeof sql>> =>
  new Map(PURGED_TABLES.map((table) => [table, sql(`${name}_${table}`, make(table))]));

// Setting a column to itself writes a new version of the row where there is room, in front.
const COLUMN: Readonly<Record<PurgedTable, string>> = { events: 'flags', state_delta: 'seq', search_docs: 'ts' };
const MOVE = onTables(
  (table) => `update ${table} set ${COLUMN[table]} = ${COLUMN[table]}
    where ctid = any(array(select ctid from ${table} where ctid >= $1::text::tid and ctid < $2::text::tid))
    returning (ctid::text::point)[0]::int as page`,
  'space_move',
);
const SIZE = sql(
  'space_size',
  'select pg_relation_size($1::text::regclass) as bytes, pg_indexes_size($1::text::regclass) as indexes',
);

/** Bytes of a table alone, and of its indexes. */
export const tableSize = async (database: Database, table: PurgedTable): Promise<{ bytes: number; indexes: number }> =>
  (await database.query<{ bytes: number; indexes: number }>(SIZE, [table]))[0] ?? { bytes: 0, indexes: 0 };

/** Vacuums a table: its free space can be used, and empty pages at its end are cut off. Pauses after every page. */
export const vacuum = (database: Database, table: PurgedTable): Promise<void> =>
  database.maintain(
    ['set vacuum_cost_delay = 1', 'set vacuum_cost_limit = 400'],
    `vacuum (analyze, truncate) ${table}`,
  );

/** Rebuilds a table's indexes, in which deleted rows have left free space; the table can be read and written meanwhile. */
export const rebuildIndexes = (database: Database, table: PurgedTable): Promise<void> =>
  database.maintain([], `reindex (concurrently) table ${table}`);

/**
 * Moves the rows of the table's last pages to free places in front.
 *
 * @param end number of pages; those from `end - WINDOW` on are emptied
 * @returns where the next window ends; undefined when there is no free place in front any more
 */
export const moveForward = (database: Database, table: PurgedTable, end: number): Promise<number | undefined> => {
  const start = Math.max(0, end - WINDOW);
  const move = MOVE.get(table);
  if (start === 0 || move === undefined) return Promise.resolve(undefined);
  return database.write(async (tx) => {
    for (let attempt = 0; attempt < MOVES; attempt++) {
      const moved = await tx.query<{ page: number }>(move, [`(${start},0)`, `(${end},0)`]);
      if (moved.some(({ page }) => page >= end)) return undefined;
      if (moved.every(({ page }) => page < start)) return start;
    }
    return undefined;
  });
};

export const pagesOf = (bytes: number): number => Math.floor(bytes / PAGE);
