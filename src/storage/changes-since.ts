import { SHARDS } from '#src/protocol/wire/position.ts';
import type { Database } from './database.ts';
import { sql } from './statement.ts';

/**
 * A read of the changes in a table that got their positions within a span of each shard, or of `most` of them.
 *
 * @param table has a column `pos`
 * @param columns what is read beside the position, as SQL
 */
export const changesSince = <Row extends object>(
  table: string,
  columns: string,
): ((database: Database, after: readonly number[], upTo: readonly number[], most?: number) => Promise<Row[]>) => {
  const statement = sql(
    `${table}_since`,
    `select ${columns}, c.pos
   from unnest($1::int[], $2::bigint[], $3::bigint[]) s(shard, after, up_to)
   join ${table} c on c.pos % ${SHARDS} = s.shard and c.pos > s.after and c.pos <= s.up_to
   limit $4`,
  );
  return (database, after, upTo, most) =>
    database.query<Row>(statement, [[...after.keys()], after, upTo, most ?? null]);
};
