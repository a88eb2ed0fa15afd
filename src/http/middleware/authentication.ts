import type { IncomingHttpHeaders } from 'node:http';
import type { TokenReader } from '#src/services/accounts/admission/admission.ts';
import type { Asserted, Requester } from '#src/services/accounts/sessions/requester.ts';
import type { Texts } from './validation.ts';

/**
 * Who may call an endpoint: `accessToken` and `admin` are accounts of this server, `optionalToken` serves both with and without a token,
 * `server` is another homeserver by its signature (X-Matrix), `appservice` an application service by its token.
 */
export type EndpointAuth = 'none' | 'optionalToken' | 'accessToken' | 'admin' | 'server' | 'appservice';

/** Another homeserver, as its signature proves. */
export interface Origin {
  readonly serverName: string;
}

/** An application service, as its token proves. */
export interface AppserviceIdentity {
  readonly id: string;
}

/** A request whose sender is not yet verified. Server-Server API, "Request Authentication": the signature covers all of it. */
export interface UnverifiedRequest {
  readonly method: string;
  /** The request target as it was sent: path and query, still percent-encoded. */
  readonly target: string;
  readonly headers: IncomingHttpHeaders;
  /** The values of all its `Authorization` headers: servers with several keys send several. */
  readonly authorizations: readonly string[];
  /** Where it comes from, for limits. */
  readonly network: string;
  /**
   * Receives the body, which is not read before the headers look right.
   *
   * @param isFamiliar whether requests from the same network were proved to be of the same sender: of others large bodies are limited
   * @throws MatrixError M_LIMIT_EXCEEDED, M_TOO_LARGE, M_NOT_JSON, M_BAD_JSON
   */
  body(isFamiliar: boolean): Promise<SignedBody>;
}

/** A body that a signature covers. */
export interface SignedBody {
  /** As it arrived; empty where there was none. */
  readonly bytes: Buffer;
  /** As JSON; undefined where there was none, and where it is so large (`LARGE_JSON`) that it is parsed when its sender is proved. */
  readonly json: unknown;
}

/** Authenticates requests. */
export interface Authenticators extends TokenReader {
  /** @throws MatrixError M_UNAUTHORIZED, M_FORBIDDEN */
  readonly authenticateServer?: (request: UnverifiedRequest) => Promise<Origin>;
  /** @throws MatrixError M_UNKNOWN_TOKEN, M_FORBIDDEN */
  readonly authenticateAppservice?: (request: UnverifiedRequest) => Promise<AppserviceIdentity>;
  /** Whether this is the token of an application service. */
  readonly isAppservice?: (token: string) => boolean;
}

/** The token of a request: that of the Authorization header, or the deprecated query parameter. */
export const tokenOf = (bearer: string | undefined, query: () => Texts): string | undefined =>
  bearer ?? textOf(query()['access_token']);

/** The query parameters of identity assertion. */
const ASSERTED = ['user_id', 'device_id', 'org.matrix.msc3202.device_id'] as const;

const textOf = (value: string | readonly string[] | undefined): string | undefined => {
  const text = typeof value === 'string' ? value : value?.[0];
  return text === '' ? undefined : text;
};

const NO_ASSERTION: Asserted = {};

/**
 * The user and device that a request asserts. Of two values the first one counts.
 *
 * @param own names of parameters that the endpoint has itself: they do not assert an identity, unless they are there twice
 */
export const assertedIn = (query: Texts, own: ReadonlySet<string>): Asserted => {
  const value = (name: string): string | undefined => {
    const given = query[name];
    return own.has(name) && !Array.isArray(given) ? undefined : textOf(given);
  };
  const userId = value('user_id');
  const deviceId = value('device_id') ?? value('org.matrix.msc3202.device_id');
  return userId === undefined && deviceId === undefined ? NO_ASSERTION : { userId, deviceId };
};

/** The endpoint's own parameters: of two values of one that it has too, the first one is the asserted identity. */
export const withoutAsserted = (query: Texts, own: ReadonlySet<string>): Texts => {
  const doubled = ASSERTED.filter((name) => own.has(name) && Array.isArray(query[name]));
  return doubled.length === 0
    ? query
    : { ...query, ...Object.fromEntries(doubled.map((name) => [name, query[name]?.at(-1)])) };
};

/**
 * Finds the owner of the access token of a request. Client-Server API, "Client Authentication".
 *
 * @param identify is given undefined where there is no token
 * @returns undefined where an `optionalToken` is missing
 * @throws MatrixError what `identify` throws
 */
export const identifyUser = (
  auth: 'optionalToken' | 'accessToken' | 'admin',
  token: string | undefined,
  identify: (token: string | undefined) => Promise<Requester>,
): Promise<Requester> | undefined => (token === undefined && auth === 'optionalToken' ? undefined : identify(token));
