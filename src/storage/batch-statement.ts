import { binaryArray, type ElementKinds } from './binary-array.ts';
import type { Database, Tx } from './database.ts';
import { sql, type Statement } from './statement.ts';
import { arrayLiteral } from './array-literal.ts';

/** PostgreSQL types of the columns of a batch, and the TypeScript type of their values. */
interface Kinds extends ElementKinds {
  readonly json: string;
  readonly 'bigint[]': readonly number[];
}

/** One column of a table that is written in batches. */
export interface Column<Row> {
  readonly type: keyof Kinds;
  readonly value: (row: Row) => unknown;
  /** Inserted in place of the value: an expression over the row, which has this alias. */
  readonly expression?: (row: string) => string;
  /** Travels with the row, for the expressions of others, and is no column of the table. */
  readonly isArgument?: boolean;
}

const column =
  <Type extends keyof Kinds>(type: Type) =>
  <Row>(value: (row: Row) => Kinds[Type] | null | undefined): Column<Row> => ({ type, value });

export const smallint = column('smallint');
export const int = column('int');
export const bigint = column('bigint');
export const double = column('double precision');
export const boolean = column('boolean');
export const text = column('text');
export const uuid = column('uuid');
export const bytea = column('bytea');
export const json = column('json');
export const bigints = column('bigint[]');

export interface TableDeclaration<Batch, Row> {
  /** The table's name. */
  readonly name: string;
  /** Its rows in a batch. */
  readonly rows: (batch: Batch) => readonly Row[];
  /** Of rows with the same key the last one is written: no statement may touch a row twice. */
  readonly key?: (row: Row) => string | number;
  /** By name, in the order in which they are written. */
  readonly columns: Readonly<Record<string, Column<Row>>>;
}

/** What a batch writes into one table (or changes there): its rows, column by column. */
export class BatchTable<Batch> {
  readonly name: string;
  readonly columns: Readonly<Record<string, Column<never>>>;
  readonly #rows: (batch: Batch) => readonly unknown[];

  private constructor(name: string, columns: BatchTable<Batch>['columns'], rows: (batch: Batch) => readonly unknown[]) {
    this.name = name;
    this.columns = columns;
    this.#rows = rows;
  }

  static declare<Batch, Row>({ name, rows, key, columns }: TableDeclaration<Batch, Row>): BatchTable<Batch> {
    if (key === undefined) return new BatchTable(name, columns, rows);
    return new BatchTable(name, columns, (batch) => [
      ...new Map(rows(batch).map((row) => [key(row), row] as const)).values(),
    ]);
  }

  rows(batch: Batch): readonly unknown[] {
    return this.#rows(batch);
  }
}

/**
 * The rows of a table in SQL, as an item of FROM: `unnest($4::int[], $5::bigint[]) e(room, nid)`.
 *
 * @param columns all of them, when left out
 */
export type RowsOf<Batch> = (table: BatchTable<Batch>, alias: string, columns?: readonly string[]) => string;

/** One part of a batch statement: `<name> as (<text>)`. */
export interface Step<Batch> {
  readonly name: string;
  /** A batch without rows of any of these does not need the step. A step of no tables is needed by every batch. */
  readonly tables: readonly BatchTable<Batch>[];
  readonly text: (rows: RowsOf<Batch>) => string;
}

/**
 * The text of an INSERT of a table's rows.
 *
 * @param more.from what else stands in FROM, such as the step that says whether anything is written at all
 * @param more.overriding `overriding system value`, where the table would number the rows by itself
 * @param more.after what follows: ON CONFLICT, RETURNING
 */
const insertionOf = <Batch>(
  table: BatchTable<Batch>,
  rows: RowsOf<Batch>,
  more: { readonly from?: string; readonly overriding?: boolean; readonly after?: string } = {},
): string => {
  const columns = Object.entries(table.columns).filter(([, { isArgument }]) => isArgument !== true);
  const values = columns.map(([name, { type, expression }]) =>
    expression === undefined ? `n.${name}${type === carriedAs(type) ? '' : `::${type}`}` : expression('n'),
  );
  return [
    `insert into ${table.name} (${columns.map(([name]) => name).join(', ')})`,
    ...(more.overriding === true ? ['overriding system value'] : []),
    `select ${values.join(', ')}`,
    `from ${more.from === undefined ? '' : `${more.from}, `}${rows(table, 'n')}`,
    ...(more.after === undefined ? [] : [more.after]),
  ].join('\n');
};

/** A step that inserts a table's rows, named `new_<table>`. */
export const insertStep = <Batch>(
  table: BatchTable<Batch>,
  more: Parameters<typeof insertionOf>[2] = {},
): Step<Batch> => ({
  name: `new_${table.name}`,
  tables: [table],
  text: (rows) => insertionOf(table, rows, more),
});

/** `unnest` flattens arrays of arrays: those travel as array literals. JSON is text on the way, too. */
const carriedAs = (type: keyof Kinds): keyof ElementKinds => (type === 'bigint[]' || type === 'json' ? 'text' : type);

const carried = ({ type, value }: Column<never>, row: unknown): unknown => {
  const one = value(row as never) ?? null;
  return type === 'bigint[]' && one !== null ? arrayLiteral(one as readonly number[]) : one;
};

/** A batch with the rows of its tables, which are worked out once. */
class RowsInBatch<Batch> {
  readonly #batch: Batch;
  readonly #rows = new Map<BatchTable<Batch>, readonly unknown[]>();

  constructor(batch: Batch) {
    this.#batch = batch;
  }

  of(table: BatchTable<Batch>): readonly unknown[] {
    let rows = this.#rows.get(table);
    if (rows === undefined) this.#rows.set(table, (rows = table.rows(this.#batch)));
    return rows;
  }

  need({ tables }: Step<Batch>): boolean {
    return tables.length === 0 || tables.some((table) => this.of(table).length > 0);
  }
}

/**
 * One statement that writes a whole batch: a CTE for each step, whose rows come as one array for each column. Parameters get their
 * numbers in the order in which the steps name them.
 */
class BatchStatement<Batch> {
  readonly statement: Statement;
  readonly #steps: ReadonlySet<Step<Batch>>;
  readonly #parameters: { readonly table: BatchTable<Batch>; readonly column: string }[] = [];

  /**
   * @param name of the prepared statement
   * @param answer the SELECT at the end
   */
  constructor(name: string, steps: readonly Step<Batch>[], answer: string) {
    this.#steps = new Set(steps);
    const parts = steps.map((step) => `${step.name} as (\n${step.text(this.#rowsOf)}\n)`);
    this.statement = sql(name, `with ${parts.join(', ')}\n${answer}`);
  }

  readonly #rowsOf: RowsOf<Batch> = (table, alias, columns = Object.keys(table.columns)) => {
    const arrays = columns.map((name) => {
      const declared = table.columns[name];
      if (declared === undefined) throw new Error(`the table ${table.name} has no column ${name}`);
      return `$${this.#numberOf(table, name)}::${carriedAs(declared.type)}[]`;
    });
    return `unnest(${arrays.join(', ')}) ${alias}(${columns.join(', ')})`;
  };

  #numberOf(table: BatchTable<Batch>, name: string): number {
    const known = this.#parameters.findIndex((one) => one.table === table && one.column === name);
    return known >= 0 ? known + 1 : this.#parameters.push({ table, column: name });
  }

  /** Whether it has all the steps that a batch needs. */
  covers(needed: readonly Step<Batch>[]): boolean {
    return needed.every((step) => this.#steps.has(step));
  }

  /** One array for each parameter. */
  values(batch: RowsInBatch<Batch>): Buffer[] {
    return this.#parameters.map(({ table, column: name }) => {
      const declared = table.columns[name];
      if (declared === undefined) throw new Error(`the table ${table.name} has no column ${name}`);
      const values = batch.of(table).map((row) => carried(declared, row) as never);
      return binaryArray(carriedAs(declared.type), values);
    });
  }
}

/**
 * Statements for batches of one kind, from the smallest to the one that has all steps: a batch is written by the first that has what
 * it needs, so that what is rare costs the others nothing. Each connection prepares each of them at most once.
 */
export class BatchStatements<Batch> {
  readonly sizes: readonly BatchStatement<Batch>[];
  readonly #steps: readonly Step<Batch>[];

  /**
   * @param sizes names of the statements, each with the steps that it has besides those of the ones before it
   * @param answer the SELECT at the end of a statement with these steps
   */
  constructor(
    sizes: readonly { readonly name: string; readonly steps: readonly Step<Batch>[] }[],
    answer: (steps: readonly Step<Batch>[]) => string,
  ) {
    const all: Step<Batch>[] = [];
    this.sizes = sizes.map(({ name, steps }) => {
      all.push(...steps);
      return new BatchStatement(name, [...all], answer(all));
    });
    this.#steps = all;
  }

  /** Writes a batch, in one round trip and one commit. */
  write<Answer extends object>(database: Database | Tx, batch: Batch): Promise<Answer[]> {
    const rows = new RowsInBatch(batch);
    const needed = this.#steps.filter((step) => rows.need(step));
    const chosen = this.sizes.find((size) => size.covers(needed));
    if (chosen === undefined) throw new Error('no statement has all steps');
    return database.query<Answer>(chosen.statement, chosen.values(rows));
  }
}
