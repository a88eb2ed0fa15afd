import { MatrixError } from '#src/protocol/errors/matrix-error.ts';

const SYSTEM_CODES = new Set([
  'ECONNRESET',
  'ECONNREFUSED',
  'EPIPE',
  'ENOENT',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENOTFOUND',
]);

/** By name, and not by a symbol: MikroORM copies errors into its own, property by property. */
const OF_CONNECTION = 'isOfDatabaseConnection';

/** Marks an error of a connection to the database: its code is one that any other connection, or a file, can have as well. */
export const markConnectionError = (error: Error): void => {
  Object.defineProperty(error, OF_CONNECTION, { value: true, configurable: true });
};

/** What pg and its pool say of a connection that broke or was not to be had. */
const CONNECTION_MESSAGE =
  /^Connection terminated|^timeout exceeded when trying to connect|^Client has encountered a connection error/;

/** SQLSTATE class 08 and 57P0x. PostgreSQL, "Error Codes". */
const CONNECTION_CODE = /^(08...|57P0.)$/;

/**
 * Whether a query failed because the database was not reachable (any more), so that it is not known whether it took effect. An object store, a
 * mail server or another server that is away has the codes of a broken socket as well: they count only for connections to the database.
 */
export const isConnectionLoss = (error: unknown): boolean => {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const { [OF_CONNECTION]: isMarked } = cause as { [OF_CONNECTION]?: unknown };
    const code = codeOf(cause);
    if ((isMarked === true && SYSTEM_CODES.has(code)) || CONNECTION_CODE.test(code)) return true;
    if (CONNECTION_MESSAGE.test(cause.message)) return true;
  }
  return false;
};

/** SQLSTATE classes of transient failures: conflicts of transactions, no memory or disk, locks, system errors. */
const PASSING_CLASSES = new Set(['40', '53', '55', '58']);

/** Whether a failure is transient: the same statement may succeed later. */
export const isOfDatabase = (error: unknown): boolean => {
  if (isConnectionLoss(error)) return true;
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const { code } = cause as { code?: unknown };
    if (typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) && PASSING_CLASSES.has(code.slice(0, 2))) return true;
  }
  return false;
};

/** Whether a transaction was rolled back because of a conflict with another. SQLSTATE class 40. */
export const isDeadlock = (error: unknown): boolean => codeOf(error).startsWith('40');

/** Whether a unique constraint (or primary key) of this name refused a row. */
export const violatesUnique = (error: unknown, constraint: string): boolean =>
  error instanceof Error &&
  (error as { code?: unknown }).code === '23505' &&
  (error as { constraint?: unknown }).constraint === constraint;

/** What PostgreSQL says when it cannot write: no space, no memory, no connection left, a standby, a broken disk. */
const NO_WRITING = /^(53...|25006|58030)$/;
/** A character that its texts cannot hold (NUL), or a text that is too long for an index. */
const NO_TEXT = new Set(['22021', '22P05', '54000']);

const codeOf = (error: unknown): string => {
  const { code } = (error instanceof Error ? error : {}) as { code?: unknown };
  return typeof code === 'string' ? code : '';
};

/** Whether the database could not be reached, or could not write, until an operator repairs it or it recovers. */
export const isUnavailable = (error: unknown): boolean =>
  isConnectionLoss(error) || NO_WRITING.test(codeOf(error)) || codeOf(error) === 'ENOSPC';

/** The same of the database and nothing else: a file system that is full has its own code. */
export const isDatabaseAway = (error: unknown): boolean => {
  if (isConnectionLoss(error)) return true;
  for (let cause = error; cause instanceof Error; cause = cause.cause) if (NO_WRITING.test(codeOf(cause))) return true;
  return false;
};

/** What a client is told of a query that failed by no mistake of this program; undefined where it may have been one. */
export const clientErrorOf = (error: unknown): MatrixError | undefined => {
  if (isUnavailable(error)) {
    return new MatrixError(
      'M_UNKNOWN',
      'This server cannot reach its database, or not write to it, at the moment: try again shortly.',
      { retry_after_ms: 5_000 },
      503,
    );
  }
  if (!NO_TEXT.has(codeOf(error))) return undefined;
  return new MatrixError(
    'M_INVALID_PARAM',
    'A text in this request holds a NUL character, or is too long to be stored.',
  );
};
