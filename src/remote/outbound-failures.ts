import { errors } from 'undici';
import { RefusedAddressError, UnresolvedHostError } from './guarded-connector.ts';
import { failure, type OutboundFailure } from './outbound-result.ts';

/** The failure behind an error of undici. */
export const failureOf = (error: unknown, host: string, signal: AbortSignal): OutboundFailure => {
  if (error instanceof RefusedAddressError) return failure('refused_address', error.message);
  if (error instanceof UnresolvedHostError) return failure('unresolved', error.message);
  if (error instanceof errors.InvalidArgumentError)
    return failure('refused_url', `the request to ${host} cannot be made as it is: ${error.message}`);
  const isLate =
    error instanceof errors.ConnectTimeoutError ||
    error instanceof errors.HeadersTimeoutError ||
    error instanceof errors.BodyTimeoutError;
  if (isLate) return failure('timeout', `${host} took too long`);
  if (signal.aborted) return failure('aborted', 'the request was given up');
  const code = codeOf(error);
  if (error instanceof errors.HTTPParserError || BROKEN.has(code))
    return failure('broken', `${host} broke off (${code})`);
  return failure('unreachable', `${host} cannot be reached (${code})`);
};

const BROKEN: ReadonlySet<string> = new Set([
  'UND_ERR_SOCKET',
  'UND_ERR_RES_CONTENT_LENGTH_MISMATCH',
  'UND_ERR_HEADERS_OVERFLOW',
  'UND_ERR_RES_EXCEEDED_MAX_SIZE',
  'ECONNRESET',
  'EPIPE',
]);

const codeOf = (error: unknown): string => {
  const code: unknown = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : error instanceof Error ? error.name : 'unknown';
};
