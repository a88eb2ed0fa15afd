import { ERRCODE_STATUS, type Errcode, MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isOpaqueId } from '#src/protocol/identifiers/identifiers.ts';
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
  /** It has answered, but this server has no memory for the response at the moment. */
  | 'busy'
  /** It answers with what no server should. */
  | 'bad_answer'
  /** It answers with an error. */
  | 'refused';

export interface FederationFailure {
  readonly ok: false;
  readonly kind: FederationFailureKind;
  readonly destination: string;
  /** Of the response, where there is one. */
  readonly status?: number;
  readonly errcode?: string;
  /** A sentence, for users and logs. */
  readonly error: string;
  /** Milliseconds that it asks to wait. */
  readonly retryAfterMs?: number;
  /** Of the response, where it is a JSON object. */
  readonly body?: JsonObject;
}

export interface FederationAnswer {
  readonly ok: true;
  readonly body: JsonObject;
}

export type FederationResult = FederationAnswer | FederationFailure;

/** A failure that has no response behind it. */
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

/**
 * Errcodes of another server that a client is told. Others would speak of the client's own session or account, in which that server has no say:
 * it could log users out, or have them told that they are suspended.
 */
const PASSED_ON: ReadonlySet<string> = new Set<Errcode>([
  'M_FORBIDDEN',
  'M_NOT_FOUND',
  'M_LIMIT_EXCEEDED',
  'M_UNKNOWN',
  'M_BAD_JSON',
  'M_NOT_JSON',
  'M_INVALID_PARAM',
  'M_MISSING_PARAM',
  'M_TOO_LARGE',
  'M_BAD_STATE',
  'M_INVALID_ROOM_STATE',
  'M_INVALID_SIGNATURE',
  'M_UNSUPPORTED_ROOM_VERSION',
  'M_INCOMPATIBLE_ROOM_VERSION',
  'M_UNABLE_TO_AUTHORISE_JOIN',
  'M_UNABLE_TO_GRANT_JOIN',
  'ORG.MATRIX.MSC3895_UNABLE_DUE_TO_PARTIAL_STATE',
  'M_GUEST_ACCESS_FORBIDDEN',
  'M_INVITE_BLOCKED',
]);

const isPassedOn = (errcode: string | undefined): errcode is Errcode => errcode !== undefined && PASSED_ON.has(errcode);

/** The status for a client: 401 would ask it to log in, and one that is no error would hide it. */
const statusFor = (errcode: Errcode, status: number): number =>
  status >= 400 && status < 500 && status !== 401 ? status : ERRCODE_STATUS[errcode];

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
      if (isPassedOn(errcode) && status !== undefined && status < 500) {
        const { body, retryAfterMs } = failure;
        const version = body?.['room_version'];
        const fields = {
          ...(retryAfterMs === undefined ? {} : { retry_after_ms: retryAfterMs }),
          ...(errcode === 'M_INCOMPATIBLE_ROOM_VERSION' && isOpaqueId(version, 32) ? { room_version: version } : {}),
        };
        return new MatrixError(errcode, `${destination} says: ${error}`, fields, statusFor(errcode, status));
      }
      return new MatrixError('M_CONNECTION_FAILED', `${destination} answered with an error: ${error}`);
    default:
      return new MatrixError('M_CONNECTION_FAILED', error);
  }
};
