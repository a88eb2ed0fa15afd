import pg from 'pg';
import { markConnectionError } from './failures.ts';

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

/** A client the errors of whose connection say that they are of the database. */
export class MarkingClient extends pg.Client {
  constructor(config?: string | pg.ClientConfig) {
    super(config);
    // Before pg listens itself: callers that wait for an answer get the same error.
    this.connection.on('error', markConnectionError);
  }
}

/** A class of clients that call `onStatement` for everything sent, BEGIN and COMMIT too. */
export function countingClient(onStatement: () => void): typeof pg.Client {
  return class extends MarkingClient {
    // pg's `query` has a dozen overloads; nothing of what passes through here is looked at.
    // oxlint-disable-next-line typescript/no-explicit-any
    override query(...call: any[]): any {
      onStatement();
      return (super.query as (...forwarded: unknown[]) => unknown).apply(this, call);
    }
  };
}
