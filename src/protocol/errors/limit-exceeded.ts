import { MatrixError } from './matrix-error.ts';

const LIMITER = 'org.tsudoi.limiter';

/** The fields of a refusal by a limit, see `limitExceeded`. */
export const limiterFields = (limiter: string, retryAfterMs: number): Readonly<Record<string, string | number>> => ({
  retry_after_ms: retryAfterMs,
  [LIMITER]: limiter,
});

/**
 * The error for a client that asks for too much. It has no stack, which would be most of what it costs: those who ask for too much are refused
 * thousands of times a second, and the name of the limit says where.
 *
 * @param limiter name of the limit that stood in the way, for operators and for clients that want to say it
 * @param retryAfterMs milliseconds until it is worth trying again
 */
export const limitExceeded = (
  limiter: string,
  retryAfterMs: number,
  message = `Too many requests: the limiter ${limiter} asks to wait ${retryAfterMs} ms.`,
): MatrixError => {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    return new MatrixError('M_LIMIT_EXCEEDED', message, limiterFields(limiter, retryAfterMs));
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
};

/** The limit by which a request was refused; undefined for other errors. */
export const limiterOf = (error: MatrixError): unknown => error.fields[LIMITER];
