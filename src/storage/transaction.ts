import type { EntityManager } from '@mikro-orm/postgresql';
import type { Statement } from './statement.ts';

/** A row as hand-written SQL returns it. */
export interface SqlRow {
  readonly [column: string]: unknown;
}

/**
 * One open transaction. Whoever starts a use case opens it (`database.write` or `.read`), everyone below takes it as
 * the first parameter, and nothing remote is called while it is open.
 */
export interface Tx {
  /** Runs one prepared statement inside the transaction. */
  query<R extends object = SqlRow>(statement: Statement, values?: readonly unknown[]): Promise<R[]>;
  /** MikroORM on the same connection and transaction, with an identity map of its own; flushed before the commit. */
  readonly em: EntityManager;
  /** Calls `callback` after a successful commit, to wake listeners. What must not be lost belongs in `enqueue`. */
  afterCommit(callback: () => void): void;
  /** Writes a job into the outbox: it is there if and only if this transaction commits. */
  enqueue(job: string, payload: unknown): Promise<void>;
}
