import type { Static, TObject, TSchema } from 'typebox';
import type { Errcode } from '#src/protocol/errors/matrix-error.ts';
import type { AccessRule, AccessRules } from '#src/services/accounts/admission/access-rules.ts';
import type { MemberEventKind } from '#src/services/rooms/membership/member-event-kinds.ts';
import type { Requester } from '#src/services/accounts/sessions/requester.ts';
import type { AppserviceIdentity, EndpointAuth, Origin } from './middleware/authentication.ts';
import type { EventBody } from './middleware/json-body.ts';
import type { BodyDeclaration, BodyOf } from './middleware/body-declaration.ts';
import type { RequestInfo } from './middleware/request-info.ts';

export type { EndpointAuth, Origin } from './middleware/authentication.ts';
export { FormBody, RawBody, StreamBody } from './middleware/body-declaration.ts';
export { Reply } from './middleware/reply.ts';
export { decoded, keepsEmpty } from './middleware/validation.ts';
export type { RequestInfo } from './middleware/request-info.ts';

/** A group of limits in the configuration (`rate_limits.<bucket>`); `none` is never limited. */
export type RateLimitBucket =
  | 'none'
  | 'default'
  | 'login'
  | 'registration'
  | 'shared_secret_registration'
  | 'message'
  | 'bulk_redaction'
  | 'join'
  | 'invite'
  | 'create_room'
  | 'report'
  | 'sync'
  | 'search'
  | 'delayed_event_relay'
  | 'to_device'
  | 'media_upload'
  | 'url_preview'
  | 'media_fetch'
  | 'mail_link'
  | 'federation';

export type Method = 'GET' | 'POST' | 'PUT' | 'DELETE';

type RequesterOf<A extends EndpointAuth> = A extends 'accessToken' | 'admin'
  ? Requester
  : A extends 'optionalToken'
    ? Requester | undefined
    : A extends 'server'
      ? Origin
      : A extends 'appservice'
        ? AppserviceIdentity
        : undefined;

/** What a handler is given of a request, checked and converted. */
export interface EndpointContext<A extends EndpointAuth, P, Q, B> {
  readonly params: P extends TSchema ? Static<P> : Record<string, never>;
  /** Declared with strings, numbers, booleans or arrays: mount.ts converts what arrives as text. */
  readonly query: Q extends TSchema ? Static<Q> : Record<string, never>;
  readonly body: BodyOf<B>;
  readonly requester: RequesterOf<A>;
  readonly info: RequestInfo;
}

/** Endpoints that are not called by accounts have no rules for guests and suspended users. */
type RulesOf<A extends EndpointAuth> = A extends 'none' | 'server' | 'appservice'
  ? { readonly guests?: never; readonly suspended?: never; readonly appservices?: never }
  : AccessRules;

export type EndpointDeclaration<
  A extends EndpointAuth,
  P extends TObject | undefined,
  Q extends TObject | undefined,
  B extends BodyDeclaration | undefined,
  S,
> = RulesOf<A> & {
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
  /**
   * The changes of memberships that it makes, at once or by a job. An endpoint without it makes no member event: a test run fails where it did.
   * test/integration/authorization/member-events.test.ts tries each of them as every kind of user.
   */
  readonly memberEvents?: readonly MemberEventKind[];
  readonly params?: P;
  readonly query?: Q;
  /** Absent: a body is ignored. A schema: it must be JSON, whatever its Content-Type says. */
  readonly body?: B;
  /** An empty JSON body counts as `{}`. */
  readonly bodyOptional?: boolean;
  /**
   * The body becomes the content of an event, or of several: it is refused with M_BAD_JSON when canonical JSON cannot hold it (floats, integers
   * beyond 2^53-1, lone surrogates), and, where it is one, with M_TOO_LARGE over 64 KiB.
   */
  readonly eventBody?: EventBody;
  /**
   * Bytes of a JSON or form body: one of `BODY_BYTES`, or a limit that lies above that of all endpoints. When left out, the content of one
   * event may have `BODY_BYTES.content`, and everything else `http.max_body_bytes`.
   */
  readonly maxBodyBytes?: number;
  /** A request is expected to wait: it never counts as slow in the log. */
  readonly longPoll?: boolean;
  /** It only asks, although its method is not GET: when its client goes away before its turn comes, it is not begun. */
  readonly onlyAsks?: true;
  /** Of the answer with status 200. */
  readonly response: TSchema;
  /** Type of that answer; JSON when left out. */
  readonly responseType?: string;
  /** The errcodes with which it refuses; those that follow from `auth`, `rateLimit` and the schemas need not be named. */
  readonly errcodes: readonly Errcode[];
  /** Further answers, beside `response` and the statuses of `errcodes`, by status. Their bodies are errors unless a schema is given. */
  readonly answers?: Readonly<Record<number, { readonly description: string; readonly schema?: TSchema }>>;
  /**
   * Handles the request: about 15 lines around one call of a service. It parses nothing and queries nothing.
   *
   * @param services the services it calls, by name; mount.ts passes all of them
   * @returns the JSON of the answer or a `Reply`, or a promise of it
   * @throws MatrixError
   */
  readonly handler: (services: S, context: EndpointContext<A, P, Q, B>) => unknown;
  /**
   * The answer to an earlier request with the same transaction id; undefined where there was none. Asked when a request is refused: one
   * that is repeated is answered by its id, whatever its body says now. Client-Server API, "Transaction identifiers".
   */
  readonly earlierAnswer?: (
    services: S,
    context: Pick<EndpointContext<A, P, Q, B>, 'params' | 'query' | 'requester'>,
  ) => Promise<unknown>;
};

/** An endpoint with its schema types forgotten: what mount.ts and openapi.ts work with. `Endpoint<never>` is any. */
export interface Endpoint<S = never> extends Omit<
  EndpointDeclaration<'none', TObject | undefined, TObject | undefined, BodyDeclaration | undefined, S>,
  'auth' | 'guests' | 'suspended' | 'appservices' | 'handler' | 'earlierAnswer'
> {
  readonly auth: EndpointAuth;
  readonly guests?: AccessRule;
  readonly suspended?: AccessRule;
  readonly appservices?: AccessRule | undefined;
  readonly handler: (services: S, context: never) => unknown;
  readonly earlierAnswer?: (services: S, context: never) => Promise<unknown>;
}

/** Declares an endpoint once; routing, validation, OpenAPI, metric name, log line and the tables of docs/ come from the declaration. */
export const endpoint = <
  A extends EndpointAuth,
  P extends TObject | undefined = undefined,
  Q extends TObject | undefined = undefined,
  B extends BodyDeclaration | undefined = undefined,
  S = unknown,
>(
  declaration: EndpointDeclaration<A, P, Q, B, S>,
): Endpoint<S> => declaration as unknown as Endpoint<S>;
