import type { IncomingMessage } from 'node:http';
import { parse as parseQuery } from 'node:querystring';
import type Koa from 'koa';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { Requester } from '#src/services/accounts/sessions/requester.ts';
import { assertMayCall } from '#src/services/accounts/admission/access-rules.ts';
import { limitExceeded } from '#src/protocol/errors/limit-exceeded.ts';
import { BytesInFlight, type BytesHeld, DEFAULT_BYTES_IN_FLIGHT } from '#src/kernel/limits/bytes-in-flight.ts';
import { Deadlines } from '#src/kernel/deadlines.ts';
import { networkOf } from '#src/kernel/network.ts';
import { doing, trail, Work } from '#src/kernel/event-loop/work.ts';
import { LARGE_JSON } from '#src/protocol/json/parse-in-pieces.ts';
import { ABUSE } from './connections.ts';
import { DEFAULT_HTTP_LIMITS, DEFAULT_REQUEST_LOG, type HttpDependencies } from './dependencies.ts';
import { type Endpoint, Reply, StreamBody } from './endpoint.ts';
import { Admission, ArrivalRefused } from '#src/services/accounts/admission/admission.ts';
import { RefusalCounter } from '#src/services/accounts/admission/refusal-counter.ts';
import { internalError } from '#src/protocol/errors/internal-error.ts';
import {
  type AppserviceIdentity,
  assertedIn,
  bearerToken,
  identifyUser,
  type Origin,
  tokenOf,
  type UnverifiedRequest,
  withoutAsserted,
} from './middleware/authentication.ts';
import { AnswerHead } from './middleware/answer-head.ts';
import { ClientGone } from './middleware/client-gone.ts';
import { ClientAddress } from './middleware/client-address.ts';
import { CORS_HEADERS, isCrossOriginPath, PREFLIGHT_MAX_AGE } from './middleware/cors.ts';
import { LazyRequestInfo, OpenRequests } from './middleware/request-info.ts';
import { requestRecorder } from './middleware/request-log.ts';
import { Responder } from './middleware/responder.ts';
import type { Texts } from './middleware/validation.ts';
import { type Operation, routerOf } from './operation.ts';
import { QuietKoa } from './quiet-koa.ts';
import {
  type BodyReceiving,
  holdParsed,
  mostBytes,
  parseReceived,
  type ReceivedBody,
  receiveBody,
} from './received-body.ts';
import type { RouteMatch, RouteResult } from './router.ts';

/** The limit for requests of endpoints without a limit of their own that are not made by an account. */
const OF_ADDRESS = 'address';
/** The limit for large bodies in the name of a server that is not proved, by network; and from how much more than strangers may send a body is large. */
const UNPROVED_BYTES = 'unproved_bytes';
const UNPROVED_PART = 4;
/** Statuses of a request whose signature was looked at, and did not prove the sender. */
const JUDGED: ReadonlySet<number> = new Set([401, 403]);
const NO_QUERY: Texts = {};
/** Request ids that are taken over from a trusted proxy. */
const REQUEST_ID = /^[\w.:-]{1,64}$/;

/** What is known about a request as it passes through the steps. */
interface Exchange {
  readonly requestId: string;
  /** The headers of the answer. */
  readonly head: AnswerHead;
  readonly path: string;
  readonly search: string;
  /** The token of the Authorization header, kept as one text: as a key of maps, each new text would have to be hashed anew. */
  readonly bearer: string | undefined;
  readonly ip: string;
  /** The key under which rate limits count its address. */
  readonly network: string;
  /** Its part of the memory for bytes in flight. */
  readonly held: BytesHeld;
  operation: Operation | undefined;
  work: Work | undefined;
  requester: Requester | undefined;
  origin: Origin | undefined;
  /** It has the token of an application service, at an endpoint that needs no account: those are not limited like strangers. */
  isOfAppservice: boolean;
  errcode?: string;
  isGone: boolean;
}

/** A request target without scheme and host. RFC 9112, 3.2: proxies may send the absolute form. */
const originForm = (target: string): string =>
  target.startsWith('/') ? target : target.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i, '');

/** The path of a request target, and its query. */
const splitTarget = (target: string): readonly [string, string] => {
  let rest = originForm(target);
  const hash = rest.indexOf('#');
  if (hash !== -1) rest = rest.slice(0, hash);
  const mark = rest.indexOf('?');
  return mark === -1 ? [rest, ''] : [rest.slice(0, mark), rest.slice(mark + 1)];
};

/** @throws MatrixError M_FORBIDDEN (not an administrator), M_GUEST_ACCESS_FORBIDDEN, M_USER_SUSPENDED */
const assertMayAsk = (
  requester: Requester,
  { appservices, auth, guests = 'refused', suspended = 'refused' }: Endpoint,
): void => {
  assertMayCall(requester, { guests, suspended, appservices });
  if (auth === 'admin' && !requester.isAdmin)
    throw new MatrixError('M_FORBIDDEN', 'Only administrators of this server can do this.');
};

/** @throws Error where an endpoint wants an authentication that this server does not have, or lacks a rule for guests or suspended users */
const assertMountable = (
  { auth, body, guests, operationId, suspended }: Endpoint,
  deps: Pick<HttpDependencies, 'authenticateServer' | 'authenticateAppservice'>,
): void => {
  const isOfAccounts = auth === 'accessToken' || auth === 'optionalToken' || auth === 'admin';
  if (isOfAccounts && (guests === undefined || suspended === undefined))
    throw new Error(`The endpoint ${operationId} has to say whether guests and suspended users may call it.`);
  const isMissing =
    (auth === 'server' && deps.authenticateServer === undefined) ||
    (auth === 'appservice' && deps.authenticateAppservice === undefined);
  if (isMissing)
    throw new Error(`The endpoint ${operationId} wants the authentication ${auth}, which this server does not have.`);
  if ((auth === 'server' || auth === 'appservice') && body instanceof StreamBody)
    throw new Error(`The endpoint ${operationId} cannot take a stream: its body belongs to what proves the sender.`);
};

/**
 * Makes the application that serves `endpoints`. Every request takes the same steps in the same order: request id, CORS, route,
 * authentication, rate limit, rules for guests and suspended users, body, validation, handler, response; then one log line and one sample.
 * Where the body is part of what proves the sender, it is received before authentication.
 *
 * @param services what the handlers call
 * @throws Error when the declarations contradict each other
 */
export const mountEndpoints = <S>(endpoints: readonly Endpoint<S>[], services: S, deps: HttpDependencies): Koa => {
  const limits = { ...DEFAULT_HTTP_LIMITS, ...deps.limits };
  for (const endpoint of endpoints) assertMountable(endpoint, deps);
  const router = routerOf(endpoints);
  const addresses = new ClientAddress(deps.trustedProxies);
  const open = new OpenRequests(deps.drainSignal);
  const deadlines = new Deadlines(deps.timers);
  const inFlight = deps.bytesInFlight ?? new BytesInFlight(DEFAULT_BYTES_IN_FLIGHT, deps.metrics);
  const responder = new Responder(limits.compressFromBytes, { deadlines, timeoutMs: limits.answerTimeoutMs });
  const admission = new Admission(deps.rateLimiter, deps, deps.turns);
  const record = requestRecorder(deps, { ...DEFAULT_REQUEST_LOG, ...deps.requestLog });
  let count = 0;
  let running = 0;
  const refusals = new RefusalCounter(deps.metrics, 'http');
  deps.metrics.gaugeOf(
    'tsudoi_http_requests_running',
    'requests that are being answered, waiting syncs included',
    () => running,
  );
  const idPrefix = deps.random.string(6);

  const begin = (ctx: Koa.Context): Exchange => {
    const [path, search] = splitTarget(ctx.req.url ?? '/');
    const remote = ctx.req.socket.remoteAddress;
    const ip = addresses.of(remote, ctx.req.headers['x-forwarded-for']);
    count += 1;
    let requestId = `${idPrefix}-${count.toString(36)}`;
    const given = ctx.req.headers['x-request-id'];
    if (typeof given === 'string' && REQUEST_ID.test(given) && addresses.isTrusted(addresses.of(remote, undefined)))
      requestId = given;
    const held = inFlight.open(ip, ctx.req.socket);
    const head = isCrossOriginPath(path)
      ? new AnswerHead('X-Request-Id', requestId, ...CORS_HEADERS)
      : new AnswerHead('X-Request-Id', requestId);
    return {
      requestId,
      head,
      path,
      search,
      bearer: bearerToken(ctx.req.headers.authorization),
      ip,
      network: networkOf(ip),
      held,
      operation: undefined,
      work: undefined,
      requester: undefined,
      origin: undefined,
      isOfAppservice: false,
      isGone: false,
    };
  };

  /** Whether a request has an access token that was valid a moment ago. */
  const isKnown = ({ bearer }: Exchange): boolean => bearer !== undefined && deps.knows?.(bearer) === true;

  const isAppservice = (token: string | undefined): boolean =>
    token !== undefined && deps.isAppservice?.(token) === true;

  /** @throws MatrixError M_UNRECOGNIZED, M_LIMIT_EXCEEDED */
  const refuseRoute = (head: AnswerHead, result: Exclude<RouteResult<Operation>, RouteMatch<Operation>>): never => {
    if (result.kind === 'unknown') throw new MatrixError('M_UNRECOGNIZED', 'This server does not know that path.');
    const allow = (
      result.allow.includes('GET') ? [...result.allow, 'HEAD', 'OPTIONS'] : [...result.allow, 'OPTIONS']
    ).join(', ');
    head.set('Allow', allow);
    throw new MatrixError('M_UNRECOGNIZED', `This path only serves ${allow}.`, {}, 405);
  };

  const limit = (operation: Operation, exchange: Exchange): void => {
    const bucket = operation.endpoint.rateLimit;
    const { requester } = exchange;
    if (requester?.rateLimited === false || exchange.isOfAppservice) return;
    if (bucket === 'default' && requester === undefined) admission.take(OF_ADDRESS, keyOf(exchange));
    else if (bucket !== 'none') admission.take(bucket, keyOf(exchange));
    else if (requester === undefined) admission.unaccounted(keyOf(exchange));
  };

  /**
   * Authenticates a request whose signature covers its body. Strangers have a limit of their own, by their address, and another one for
   * large bodies: they are read before it is known who sends them.
   */
  const prove = async (
    ctx: Koa.Context,
    { endpoint }: Operation,
    exchange: Exchange,
    reading: BodyReceiving,
  ): Promise<{ readonly caller: Origin | AppserviceIdentity | undefined; readonly received: ReceivedBody }> => {
    let received: ReceivedBody | undefined;
    let unproved = 0;
    const request: UnverifiedRequest = {
      method: ctx.method,
      target: originForm(ctx.req.url ?? '/'),
      headers: ctx.req.headers,
      authorizations: ctx.req.headersDistinct['authorization'] ?? [],
      network: exchange.network,
      async body(isFamiliar) {
        const large = isFamiliar ? 0 : largeBytes(ctx.req, endpoint);
        if (large > 0) admission.take(UNPROVED_BYTES, exchange.network, large);
        unproved = large;
        received = await receiveBody(ctx.req, endpoint, reading);
        return { bytes: received.bytes, json: received.bytes.length === 0 ? undefined : received.value };
      },
    };
    const authenticate = endpoint.auth === 'appservice' ? deps.authenticateAppservice : deps.authenticateServer;
    const back = (): void => {
      if (unproved > 0) admission.refund(UNPROVED_BYTES, exchange.network, unproved);
      unproved = 0;
    };
    let caller: Origin | AppserviceIdentity | undefined;
    try {
      caller = await authenticate?.(request);
    } catch (error) {
      // Only a signature that was judged, and is not good, costs: not what ended before.
      if (!(error instanceof MatrixError) || !JUDGED.has(error.status)) back();
      throw error;
    }
    if (caller !== undefined && 'serverName' in caller) exchange.origin = caller;
    back();
    received ??= await receiveBody(ctx.req, endpoint, reading);
    const isLarge = received.bytes.length >= LARGE_JSON;
    return { caller, received: isLarge ? await parseReceived(received.bytes, endpoint, reading) : received };
  };

  /** Bytes that the body of a request may have, if that is more than anybody may send; else 0. */
  const largeBytes = ({ headers }: IncomingMessage, endpoint: Endpoint): number => {
    const most = mostBytes(endpoint, limits);
    const isOpen = headers['transfer-encoding'] !== undefined;
    const bytes = isOpen ? most : Math.min(Number(headers['content-length'] ?? 0), most);
    return bytes > UNPROVED_PART * limits.maxStrangerBodyBytes ? bytes : 0;
  };

  const serve = async (ctx: Koa.Context, exchange: Exchange): Promise<unknown> => {
    if (running > limits.maxConcurrentRequests) {
      throw limitExceeded(
        'concurrent_requests',
        1_000,
        'This server is running as many requests as it can: try again shortly.',
      );
    }
    const match = router.match(ctx.method === 'HEAD' ? 'GET' : ctx.method, exchange.path);
    // Authenticated requests wait in the line of their account, once their endpoint is known.
    if (match.kind !== 'found' || !isKnown(exchange)) {
      const waiting = admission.arrive(exchange.network);
      if (waiting !== undefined) await waiting;
    }
    if (match.kind !== 'found') {
      admission.unaccounted(exchange.network);
      return refuseRoute(exchange.head, match);
    }
    const work = new Work(match.target.name);
    exchange.operation = match.target;
    exchange.work = work;
    belongTo(exchange, work);
    return doing(work, () => perform(ctx, exchange, match, work));
  };

  /** The key by which a request counts for rate limits. */
  const keyOf = ({ network, origin, requester }: Exchange): string =>
    requester?.userId ?? origin?.serverName ?? network;

  const isCharged = ({ isOfAppservice, requester }: Exchange): boolean =>
    requester?.rateLimited !== false && !isOfAppservice;

  /** What is done may be remembered for longer than its request: apart from the closures of `serve`, these keep nothing of request and answer. */
  const belongTo = (exchange: Exchange, work: Work): void => {
    work.party = () => keyOf(exchange);
    work.resume = () => admission.resume(keyOf(exchange));
    work.charge = (ms) => {
      if (isCharged(exchange)) admission.chargeMeasured(keyOf(exchange), ms);
    };
  };

  const perform = async (
    ctx: Koa.Context,
    exchange: Exchange,
    { target: operation, names, values: segments }: RouteMatch<Operation>,
    work: Work,
  ): Promise<unknown> => {
    let parsed: Texts | undefined;
    const query = (): Texts => (parsed ??= exchange.search === '' ? NO_QUERY : parseQuery(exchange.search));

    const { endpoint } = operation;
    const { auth } = endpoint;
    const { held } = exchange;
    const accessToken = (): string | undefined => tokenOf(exchange.bearer, query);
    const reading = { limits, deadlines, held, work, turn: () => admission.turn(keyOf(exchange)) };
    let caller: Requester | Origin | AppserviceIdentity | undefined;
    let received: ReceivedBody | undefined;
    if (auth === 'server' || auth === 'appservice') {
      limit(operation, exchange);
      ({ caller, received } = await prove(ctx, operation, exchange, reading));
      // Authenticated servers have limits of their own: many of them may share one address.
      if (endpoint.rateLimit !== 'none') admission.refund(endpoint.rateLimit, exchange.network);
    } else if (auth === 'none') {
      exchange.isOfAppservice = isAppservice(accessToken());
    } else {
      const allow = endpoint.allowLocked === true ? 'locked' : undefined;
      const identify = (token: string | undefined): Promise<Requester> =>
        admission.identify(exchange.network, token, allow, assertedIn(query(), operation.queryNames));
      const requester = await identifyUser(auth, accessToken(), identify);
      caller = exchange.requester = requester;
      if (requester !== undefined) {
        exchange.held.userId = requester.userId;
        deps.seen?.(requester, exchange.ip, ctx.req.headers['user-agent']);
      }
    }
    limit(operation, exchange);
    if (exchange.requester !== undefined) assertMayAsk(exchange.requester, endpoint);
    const params = operation.validateParams(names, segments);
    let values: Record<string, unknown> = {};
    if (operation.validateQuery !== undefined) {
      const isAsserted = exchange.requester?.appservice !== undefined;
      values = operation.validateQuery(isAsserted ? withoutAsserted(query(), operation.queryNames) : query());
    }
    const { handler, earlierAnswer } = endpoint as Endpoint<S>;
    const asked = { params, query: values, requester: caller };
    try {
      received ??= await receiveBody(ctx.req, endpoint, reading);
      holdParsed(held, work);
      const body = operation.checkBody(received.value);
      const info = new LazyRequestInfo(
        exchange.requestId,
        exchange.ip,
        ctx.req.headers,
        exchange.path,
        open,
        ctx.res,
        () => addresses.isTrusted(addresses.of(ctx.req.socket.remoteAddress, undefined)),
        accessToken,
      );
      return await handler(services, { ...asked, body, info } as never);
    } catch (error) {
      if (earlierAnswer === undefined || !(error instanceof MatrixError)) throw error;
      const answer = await earlierAnswer(services, asked as never);
      if (answer === undefined) throw error;
      return answer;
    }
  };

  /** The answer to what was thrown. What is not a MatrixError is a bug: it is logged, and the client learns nothing about it. */
  const failure = (error: unknown, exchange: Exchange): MatrixError => {
    if (error instanceof MatrixError) {
      refusals.count(error);
      return error;
    }
    const explained = deps.explain?.(error);
    if (explained !== undefined) return explained;
    deps.logger.error('The request failed unexpectedly', {
      err: error instanceof Error ? error : new Error(String(error)),
      operation: exchange.operation?.name,
      request_id: exchange.requestId,
    });
    return internalError({ request_id: exchange.requestId });
  };

  const preflight = async ({ head, network }: Exchange): Promise<Reply> => {
    for (let index = 0; index < CORS_HEADERS.length; index += 2)
      head.set(CORS_HEADERS[index] ?? '', CORS_HEADERS[index + 1] ?? '');
    const waiting = admission.arrive(network);
    if (waiting !== undefined) await waiting;
    admission.unaccounted(network);
    return new Reply({ status: 204, headers: { 'Access-Control-Max-Age': PREFLIGHT_MAX_AGE } });
  };

  /** The client must not send its next request on a connection that is about to close. */
  const closeWhenDraining = (head: AnswerHead): void => {
    if (deps.drainSignal.aborted) head.set('Connection', 'close');
  };

  const app = new QuietKoa((err) => deps.logger.error('A request failed outside of its handler', { err }));
  app.use(async (ctx) => {
    const started = deps.clock.monotonic();
    trail.mark('http', started);
    const exchange = begin(ctx);
    running += 1;
    const { head } = exchange;
    try {
      let result = await (ctx.method === 'OPTIONS' ? preflight(exchange) : serve(ctx, exchange));
      if (!(result instanceof Reply)) result = new Reply({ body: result });
      closeWhenDraining(head);
      await responder.send(ctx.res, head, result as Reply, exchange.held, exchange.work);
    } catch (error) {
      if (error instanceof ArrivalRefused) ctx.req.destroy();
      if (error instanceof ClientGone || (ctx.req.destroyed && ctx.res.destroyed)) {
        exchange.isGone = true;
        if (error instanceof ClientGone && error.isSentAway)
          deps.rateLimiter.charge('connection', exchange.network, ABUSE);
        exchange.held.release();
        return;
      }
      const refusal = failure(error, exchange);
      if (ctx.res.headersSent) {
        // Part of a stream is on its way: only the end of the connection can say that the rest is missing.
        ctx.res.destroy();
        exchange.held.release();
        return;
      }
      exchange.errcode = refusal.errcode;
      closeWhenDraining(head);
      await responder.sendError(ctx.res, head, refusal, exchange.held);
    } finally {
      running -= 1;
      if (exchange.work !== undefined && isCharged(exchange))
        admission.charge(keyOf(exchange), exchange.work, exchange.requester !== undefined);
      record(ctx, exchange, deps.clock.monotonic() - started);
    }
  });
  return app;
};
