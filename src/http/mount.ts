import type { Socket } from 'node:net';
import type Koa from 'koa';
import { Deadlines } from '#src/kernel/deadlines.ts';
import { doing, trail, Work } from '#src/kernel/event-loop/work.ts';
import { BytesInFlight, DEFAULT_BYTES_IN_FLIGHT } from '#src/kernel/limits/bytes-in-flight.ts';
import { limitExceeded } from '#src/protocol/errors/limit-exceeded.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { Admission, ArrivalRefused } from '#src/services/accounts/admission/admission.ts';
import { ABUSE } from './connections.ts';
import { DEFAULT_HTTP_LIMITS, DEFAULT_REQUEST_LOG, type HttpDependencies } from './dependencies.ts';
import { type Endpoint, Reply, StreamBody } from './endpoint.ts';
import { type Exchange, Exchanges, isCharged, keyOf } from './exchange.ts';
import { Failures } from './failures.ts';
import type { AnswerHead } from './middleware/answer-head.ts';
import { ClientAddress } from './middleware/client-address.ts';
import { ClientGone } from '#src/kernel/event-loop/client-gone.ts';
import { CORS_HEADERS, PREFLIGHT_MAX_AGE } from './middleware/cors.ts';
import { OpenRequests } from './middleware/request-info.ts';
import { requestRecorder } from './middleware/request-log.ts';
import { Responder } from './middleware/responder.ts';
import { type Operation, routerOf } from './operation.ts';
import { QuietKoa } from './quiet-koa.ts';
import { RequestSteps } from './request-steps.ts';
import type { RouteMatch, RouteResult } from './router.ts';

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
 * Makes the application that serves `endpoints`. Every request takes the same steps in the same order: request id, CORS, route (`Exchanges`
 * and here); authentication, rate limit, rules for guests and suspended users, body, validation, handler (`RequestSteps`); response; then one
 * log line and one sample. Where the body is part of what proves the sender, it is received before authentication (`SignedRequests`).
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
  const failures = new Failures(deps);
  let running = 0;
  deps.metrics.gaugeOf(
    'tsudoi_http_requests_running',
    'requests that are being answered, waiting syncs included',
    () => running,
  );
  const exchanges = new Exchanges(addresses, inFlight, deps.random.string(6));
  const steps = new RequestSteps({ services, deps, limits, addresses, admission, deadlines, open });

  /** Whether a request has an access token that was valid a moment ago. */
  const isKnown = ({ bearer }: Exchange): boolean => bearer !== undefined && deps.knows?.(bearer) === true;

  /** @throws MatrixError M_UNRECOGNIZED, M_LIMIT_EXCEEDED */
  const refuseRoute = (head: AnswerHead, result: Exclude<RouteResult<Operation>, RouteMatch<Operation>>): never => {
    if (result.kind === 'unknown') throw new MatrixError('M_UNRECOGNIZED', 'This server does not know that path.');
    const allow = (
      result.allow.includes('GET') ? [...result.allow, 'HEAD', 'OPTIONS'] : [...result.allow, 'OPTIONS']
    ).join(', ');
    head.set('Allow', allow);
    throw new MatrixError('M_UNRECOGNIZED', `This path only serves ${allow}.`, {}, 405);
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
    belongTo(exchange, work, ctx.req.socket);
    return doing(work, () => steps.perform(ctx, exchange, match, work));
  };

  /** What is done may be remembered for longer than its request: apart from the closures of `serve`, these keep nothing of request and answer. */
  const belongTo = (exchange: Exchange, work: Work, socket: Socket): void => {
    work.isUnwanted = () => socket.destroyed;
    work.party = () => keyOf(exchange);
    work.resume = () => admission.resume(keyOf(exchange));
    work.charge = (ms) => {
      if (isCharged(exchange)) admission.chargeMeasured(keyOf(exchange), ms);
    };
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

  const app = new QuietKoa((err) => deps.logger.error('a request failed outside of its handler', { err }));
  app.use(async (ctx) => {
    const started = deps.clock.monotonic();
    trail.mark('http', started);
    const exchange = exchanges.begin(ctx.req);
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
      const refusal = failures.errorOf(error, exchange);
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
