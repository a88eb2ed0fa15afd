import type { Static, TObject, TSchema } from 'typebox';
import type { Errcode } from '#src/protocol/errors/matrix-error.ts';
import type { Requester } from '#src/services/accounts/sessions/requester.ts';

/** Who may call an endpoint. `accessToken` refuses guests; `optionalToken` serves both with and without a token. */
export type EndpointAuth =
  | 'none'
  | 'optionalToken'
  | 'accessToken'
  | 'accessTokenOrGuest'
  | 'server'
  | 'appservice'
  | 'admin';

/** A group of limits in the configuration (`rate_limits.<bucket>`); `none` is never limited. */
export type RateLimitBucket =
  | 'none'
  | 'default'
  | 'login'
  | 'registration'
  | 'message'
  | 'join'
  | 'invite'
  | 'create_room'
  | 'report'
  | 'sync'
  | 'search'
  | 'delayed_event_relay';

export type Method = 'GET' | 'POST' | 'PUT' | 'DELETE';

/** The part of a request that is not declared by a schema. */
export interface RequestInfo {
  readonly requestId: string;
  /** The client's address: behind a trusted proxy, what X-Forwarded-For says. */
  readonly ip: string;
  readonly userAgent: string | undefined;
  /** Path as it was requested, with the alias that was used. */
  readonly path: string;
  /** Aborted when the client goes away or the server drains: long-polls answer then. */
  readonly signal: AbortSignal;
}

export type RequesterFor<A extends EndpointAuth> = A extends 'accessToken' | 'accessTokenOrGuest' | 'admin'
  ? Requester
  : A extends 'optionalToken'
    ? Requester | undefined
    : undefined;

type StaticOr<S, Fallback> = S extends TSchema ? Static<S> : Fallback;

export interface EndpointContext<A extends EndpointAuth, P, Q, B> {
  readonly params: P extends TSchema ? Static<P> : Record<string, never>;
  /** Declared with strings, numbers, booleans or arrays: mount.ts converts what arrives as text. */
  readonly query: StaticOr<Q, Record<string, never>>;
  readonly body: StaticOr<B, undefined>;
  readonly requester: RequesterFor<A>;
  readonly info: RequestInfo;
}

/**
 * A response other than a JSON object with status 200: another status (UIA's 401), headers, or a body that is serialised already.
 * `json` is sent as it stands: sync bodies are concatenations and are never parsed again.
 */
export class Reply {
  readonly status: number;
  readonly body: unknown;
  readonly json: string | Buffer | undefined;
  readonly contentType: string;
  readonly headers: Readonly<Record<string, string>>;

  constructor(reply: {
    status?: number;
    body?: unknown;
    json?: string | Buffer;
    contentType?: string;
    headers?: Readonly<Record<string, string>>;
  }) {
    this.status = reply.status ?? 200;
    this.body = reply.body;
    this.json = reply.json;
    this.contentType = reply.contentType ?? 'application/json';
    this.headers = reply.headers ?? {};
  }
}

export interface EndpointDeclaration<
  A extends EndpointAuth,
  P extends TObject | undefined,
  Q extends TObject | undefined,
  B extends TSchema | undefined,
> {
  /** The specification's operationId. Names the metric, the log line and the operation in spec/. */
  readonly operationId: string;
  readonly summary: string;
  readonly method: Method;
  /** The newest stable path, in the specification's notation: `/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}`. */
  readonly path: string;
  /**
   * Further paths of the same operation. mount.ts adds the r0 alias of a `/_matrix/client/v3/` path, and `/state/{eventType}` with and
   * without a trailing slash to a path that ends in `/state/{eventType}/{stateKey}` (the state key is empty then).
   */
  readonly aliases?: readonly string[];
  readonly auth: A;
  /** Serves locked accounts too, which is for logging out only. Client-Server API, "Account locking". */
  readonly allowLocked?: boolean;
  readonly rateLimit: RateLimitBucket;
  readonly params?: P;
  readonly query?: Q;
  /** Absent: a body is ignored. Present: it must be JSON. An empty body counts as `{}` when `bodyOptional`. */
  readonly body?: B;
  readonly bodyOptional?: boolean;
  /**
   * The body becomes the content of an event: it is refused with M_BAD_JSON when canonical JSON cannot hold it (floats, integers beyond
   * 2^53-1, lone surrogates) and with M_TOO_LARGE over 64 KiB.
   */
  readonly eventBody?: boolean;
  /** Bytes of the body, where the server's general limit does not fit. */
  readonly maxBodyBytes?: number;
  /** Waiting is what it does: it never counts as slow in the log. */
  readonly longPoll?: boolean;
  readonly response: TSchema;
  readonly errors: readonly Errcode[];
  readonly handle: (context: EndpointContext<A, P, Q, B>) => Promise<unknown>;
}

/** An endpoint with its schema types forgotten: what mount.ts and openapi.ts work with. */
export interface Endpoint extends Omit<
  EndpointDeclaration<EndpointAuth, TObject | undefined, TObject | undefined, TSchema | undefined>,
  'handle'
> {
  readonly handle: (context: never) => Promise<unknown>;
}

/** Declares an endpoint once; routing, validation, OpenAPI, metric name and log line come from the declaration. */
export const endpoint = <
  A extends EndpointAuth,
  P extends TObject | undefined = undefined,
  Q extends TObject | undefined = undefined,
  B extends TSchema | undefined = undefined,
>(
  declaration: EndpointDeclaration<A, P, Q, B>,
): Endpoint => declaration as unknown as Endpoint;
