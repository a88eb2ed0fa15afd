import { ERRCODE_STATUS, type Errcode, MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';

/** Why another server did not do what it was asked. */
export type FederationFailureKind =
  /** This server does not federate. */
  | 'disabled'
  /** This server does not federate with that one: its lists, or an address in its own network. */
  | 'denied'
  /** Nobody can be reached there, or nobody was lately and it is too early to try again. */
  | 'unreachable'
  | 'timeout'
  | 'too_large'
  /** It answers with what no server should. */
  | 'bad_answer'
  /** It answers with an error. */
  | 'refused';

export interface FederationFailure {
  readonly ok: false;
  readonly kind: FederationFailureKind;
  readonly destination: string;
  /** Of the answer, where there is one. */
  readonly status?: number;
  readonly errcode?: string;
  /** A sentence, for users and logs. */
  readonly error: string;
  /** Milliseconds that it asks to wait. */
  readonly retryAfterMs?: number;
  /** Of the answer, where it is a JSON object. */
  readonly body?: JsonObject;
}

export interface FederationAnswer {
  readonly ok: true;
  readonly body: JsonObject;
}

export type FederationResult = FederationAnswer | FederationFailure;

/** A failure that has no answer behind it. */
export const federationFailure = (
  kind: FederationFailureKind,
  destination: string,
  error: string,
  retryAfterMs?: number,
): FederationFailure => ({
  ok: false,
  kind,
  destination,
  error,
  ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
});

const isErrcode = (text: string | undefined): text is Errcode =>
  text !== undefined && Object.hasOwn(ERRCODE_STATUS, text);

/** Errcodes that speak of the credentials of this server: to a client they would speak of its own. */
const ABOUT_SERVERS: ReadonlySet<string> = new Set<Errcode>([
  'M_UNAUTHORIZED',
  'M_UNKNOWN_TOKEN',
  'M_MISSING_TOKEN',
  'M_USER_LOCKED',
  'M_UNRECOGNIZED',
]);

/** What a client is told when another server could not be asked, or refused. */
export const matrixErrorOf = (failure: FederationFailure): MatrixError => {
  const { destination, errcode, error, kind, status } = failure;
  switch (kind) {
    case 'disabled':
      return new MatrixError('M_FORBIDDEN', 'This server does not federate with other servers.');
    case 'denied':
      return new MatrixError('M_FORBIDDEN', error);
    case 'timeout':
      return new MatrixError('M_CONNECTION_TIMEOUT', error);
    case 'refused':
      if (isErrcode(errcode) && !ABOUT_SERVERS.has(errcode) && status !== undefined && status < 500) {
        const { body, retryAfterMs } = failure;
        const version = body?.['room_version'];
        const fields = {
          ...(retryAfterMs === undefined ? {} : { retry_after_ms: retryAfterMs }),
          ...(errcode === 'M_INCOMPATIBLE_ROOM_VERSION' && typeof version === 'string'
            ? { room_version: version }
            : {}),
        };
        return new MatrixError(errcode, `${destination} says: ${error}`, fields, status);
      }
      return new MatrixError('M_CONNECTION_FAILED', `${destination} answered with an error: ${error}`);
    default:
      return new MatrixError('M_CONNECTION_FAILED', error);
  }
};
