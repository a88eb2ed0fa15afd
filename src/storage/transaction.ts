import type { Entities } from './orm.ts';
import type { Statement } from './statement.ts';

/** A row as hand-written SQL returns it. */
export interface SqlRow {
  readonly [column: string]: unknown;
}

/** Names a kind of job, and by that what such a job carries. `src/jobs/definitions.ts` has all of them. */
export interface JobKind<Payload> {
  readonly name: string;
  readonly uniqueBy?: ((payload: Payload) => string) | undefined;
}

/**
 * One open transaction. The start of a use case opens it (`database.write` or `.read`), everyone below takes it as
 * the first parameter, and nothing remote is called while it is open.
 */
export interface Tx {
  /** Runs one prepared statement inside the transaction. */
  query<R extends object = SqlRow>(statement: Statement, values?: readonly unknown[]): Promise<R[]>;
  /**
   * MikroORM on the same connection and transaction, with an identity map of its own, flushed before the commit, and the entities to use it
   * with. The first call in the life of a process loads it, which takes a moment: what is asked for often, or by everybody, is prepared SQL.
   */
  entities(): Promise<Entities>;
  /** Calls `callback` after a successful commit, to wake listeners. What must not be lost belongs in `enqueue`. */
  afterCommit(callback: () => void): void;
  /** Writes a job into the outbox: it is there if and only if this transaction commits. */
  enqueue<Payload>(job: JobKind<Payload>, payload: Payload): Promise<void>;
}
