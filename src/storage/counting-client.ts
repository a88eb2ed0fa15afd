import pg from 'pg';
import { statementNameOf } from './statement.ts';

const INT8 = 20;
const INT8_ARRAY = 1016;

/** `int8` as a number: positions and times stay far below 2^53. */
function int8(text: string): number {
  return Number(text);
}

/** `{1,NULL,3}` as numbers and nulls. One dimension: we have no matrices of positions. */
function int8Array(text: string): (number | null)[] {
  if (text === '{}') return [];
  return text
    .slice(1, -1)
    .split(',')
    .map((item) => (item === 'NULL' ? null : Number(item)));
}

/** pg's own parsers, but for `int8` and dates: PostgreSQL's big integers are numbers here, dates stay text. */
export const columnTypes = {
  getTypeParser(oid: number, format?: 'text' | 'binary'): unknown {
    if (format !== 'binary') {
      if (oid === INT8) return int8;
      if (oid === INT8_ARRAY) return int8Array;
    }
    return pg.types.getTypeParser(oid as never, format as never);
  },
};

interface QueryConfig {
  readonly name?: string;
  readonly text: string;
  readonly values?: readonly unknown[];
}

/**
 * A class of clients that call `onStatement` for everything sent (BEGIN and COMMIT too) and prepare what was declared
 * with `sql()`, whichever way it comes in.
 */
export function countingClient(onStatement: () => void): typeof pg.Client {
  class CountingClient extends pg.Client {
    // pg's `query` has a dozen overloads; what passes through here is only looked at for its text.
    // oxlint-disable-next-line typescript/no-explicit-any
    override query(...call: any[]): any {
      onStatement();
      const [first, second, ...rest] = call as [unknown, unknown, ...unknown[]];
      const forward = super.query.bind(this) as (...forwarded: unknown[]) => unknown;
      if (typeof first === 'string') {
        const name = statementNameOf(first);
        if (name !== undefined) {
          const values = Array.isArray(second) ? (second as unknown[]) : [];
          const config: QueryConfig = { name, text: first, values };
          return typeof second === 'function' ? forward(config, second) : forward(config, ...rest);
        }
      }
      const result = forward(...call);
      return typeof first === 'string' && result instanceof Promise ? this.#keepPoolWhole(first, result) : result;
    }

    /**
     * Kysely gives a connection back only after a successful BEGIN, COMMIT or ROLLBACK. When the database went away none of
     * them succeeds, and every such transaction would cost the pool one connection for ever.
     */
    #keepPoolWhole(text: string, result: Promise<unknown>): Promise<unknown> {
      if (/^(begin|start transaction)/.test(text)) {
        return result.catch((error: unknown) => {
          (this as unknown as pg.PoolClient).release(true);
          throw error;
        });
      }
      // A connection that cannot roll back is gone, and its transaction with it: the pool notices when it gets it back.
      return text === 'rollback' ? result.catch(() => ({ command: 'ROLLBACK', rowCount: 0, rows: [] })) : result;
    }
  }
  return CountingClient;
}
