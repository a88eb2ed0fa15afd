const SYSTEM_CODES = new Set([
  'ECONNRESET',
  'ECONNREFUSED',
  'EPIPE',
  'ENOENT',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENOTFOUND',
]);

/**
 * Whether a query failed because the database was not reachable (any more), so that it is not known whether it took effect:
 * SQLSTATE class 08 and 57P0x (PostgreSQL, "Error Codes"), or the socket broke.
 */
export const isConnectionLoss = (error: unknown): boolean => {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const { code } = cause as { code?: unknown };
    if (typeof code === 'string' && (SYSTEM_CODES.has(code) || code.startsWith('08') || code.startsWith('57P0')))
      return true;
    if (
      /^Connection terminated|^timeout exceeded when trying to connect|^Client has encountered a connection error/.test(
        cause.message,
      )
    ) {
      return true;
    }
  }
  return false;
};

/** SQLSTATE classes of what is over sooner or later: transactions in each other's way, no memory or disk, locks, system errors. */
const PASSING_CLASSES = new Set(['40', '53', '55', '58']);

/** Whether something failed for the database's own reasons, and not for what was asked of it: the same may succeed later. */
export const isOfDatabase = (error: unknown): boolean => {
  if (isConnectionLoss(error)) return true;
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const { code } = cause as { code?: unknown };
    if (typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) && PASSING_CLASSES.has(code.slice(0, 2))) return true;
  }
  return false;
};

/** Whether a unique constraint (or primary key) of this name refused a row. */
export const violatesUnique = (error: unknown, constraint: string): boolean =>
  error instanceof Error &&
  (error as { code?: unknown }).code === '23505' &&
  (error as { constraint?: unknown }).constraint === constraint;
