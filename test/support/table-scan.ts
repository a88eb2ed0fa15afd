import { sql } from '#src/storage/statement.ts';
import type { InProcessServer } from './in-process-server.ts';

const COLUMNS = sql(
  'test_columns_of_all_tables',
  `select c.table_schema as schema, c.table_name as "table", c.column_name as "column", c.data_type as type
   from information_schema.columns c join information_schema.tables t using (table_schema, table_name)
   where c.table_schema in ('public', 'bullmq') and t.table_type = 'BASE TABLE'
     and c.data_type in ('text', 'jsonb', 'json', 'bytea', 'character varying', 'ARRAY') order by 1, 2, 3`,
);

interface Column {
  readonly schema: string;
  readonly table: string;
  readonly column: string;
  readonly type: string;
}

/** Every column of every table in which a text stands, as `table.column`. */
export const columnsWith = async ({ services: { database } }: InProcessServer, text: string): Promise<string[]> => {
  const found: string[] = [];
  for (const { column, schema, table, type } of await database.query<Column>(COLUMNS)) {
    const value = type === 'bytea' ? `encode("${column}", 'escape')` : `"${column}"::text`;
    const statement = {
      name: `test_scan_${schema}_${table}_${column}`,
      text: `select 1 from ${schema}."${table}" where position($1 in ${value}) > 0 limit 1`,
    };
    if ((await database.query(statement, [text])).length > 0)
      found.push(`${schema === 'public' ? '' : `${schema}.`}${table}.${column}`);
  }
  return found;
};
