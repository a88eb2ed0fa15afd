import { parse as parseQuery } from 'node:querystring';
import type Koa from 'koa';
import { ClientGone } from '#src/kernel/event-loop/client-gone.ts';
import type { Deadlines } from '#src/kernel/deadlines.ts';
import type { Work } from '#src/kernel/event-loop/work.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { assertMayCall } from '#src/services/accounts/admission/access-rules.ts';
import type { Admission } from '#src/services/accounts/admission/admission.ts';
import type { Requester } from '#src/services/accounts/sessions/requester.ts';
import type { HttpDependencies, HttpLimits } from './dependencies.ts';
import type { Endpoint } from './endpoint.ts';
import { type Exchange, keyOf } from './exchange.ts';
import {
  type AppserviceIdentity,
  assertedIn,
  identifyUser,
  type Origin,
  tokenOf,
  withoutAsserted,
} from './middleware/authentication.ts';
import type { ClientAddress } from './middleware/client-address.ts';
import { LazyRequestInfo, type OpenRequests } from './middleware/request-info.ts';
import type { Texts } from './middleware/validation.ts';
import type { Operation } from './operation.ts';
import { holdParsed, type ReceivedBody, receiveBody } from './received-body.ts';
import type { RouteMatch } from './router.ts';
import { SignedRequests } from './signed-requests.ts';

/** The limit for requests of endpoints without a limit of their own that are not made by an account. */
const OF_ADDRESS = 'address';
const NO_QUERY: Texts = {};

export interface RequestStepsOptions<S> {
  /** What the handlers call. */
  readonly services: S;
  readonly deps: HttpDependencies;
  readonly limits: HttpLimits;
  readonly addresses: ClientAddress;
  readonly admission: Admission;
  readonly deadlines: Deadlines;
  readonly open: OpenRequests;
}

/**
 * The steps between the route of a request and its answer, the same for every endpoint: authentication, rate limit, rules for guests and
 * suspended users, body, validation, handler.
 */
export class RequestSteps<S> {
  readonly #options: RequestStepsOptions<S>;
  readonly #signed: SignedRequests;

  constructor(options: RequestStepsOptions<S>) {
    this.#options = options;
    const { admission, deps, limits } = options;
    this.#signed = new SignedRequests({ admission, authenticators: deps, limits });
  }

  /**
   * Takes a request whose route was found through all of them.
   *
   * @returns what the handler answers
   */
  async perform(
    ctx: Koa.Context,
    exchange: Exchange,
    { target: operation, names, values: segments }: RouteMatch<Operation>,
    work: Work,
  ): Promise<unknown> {
    const { addresses, admission, deadlines, deps, limits, open, services } = this.#options;
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
      this.#limit(operation, exchange);
      ({ caller, received } = await this.#signed.prove(ctx.req, operation, exchange, reading));
      // Authenticated servers have limits of their own: many of them may share one address.
      if (endpoint.rateLimit !== 'none') admission.refund(endpoint.rateLimit, exchange.network);
    } else if (auth === 'none') {
      const token = accessToken();
      exchange.isOfAppservice = token !== undefined && deps.isAppservice?.(token) === true;
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
    this.#limit(operation, exchange);
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
      // It may have waited long for its turn.
      if (onlyAsks(endpoint) && ctx.req.socket.destroyed) throw new ClientGone();
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
  }

  #limit(operation: Operation, exchange: Exchange): void {
    const { admission } = this.#options;
    const bucket = operation.endpoint.rateLimit;
    const { requester } = exchange;
    if (requester?.rateLimited === false || exchange.isOfAppservice) return;
    if (bucket === 'default' && requester === undefined) admission.take(OF_ADDRESS, keyOf(exchange));
    else if (bucket !== 'none') admission.take(bucket, keyOf(exchange));
    else if (requester === undefined) admission.unaccounted(keyOf(exchange));
  }
}

/** Whether a request changes nothing that anyone but its client would miss. */
const onlyAsks = ({ longPoll, method, onlyAsks: isDeclared }: Endpoint): boolean =>
  method === 'GET' || longPoll === true || isDeclared === true;

/** @throws MatrixError M_FORBIDDEN (not an administrator), M_GUEST_ACCESS_FORBIDDEN, M_USER_SUSPENDED */
const assertMayAsk = (
  requester: Requester,
  { appservices, auth, guests = 'refused', suspended = 'refused' }: Endpoint,
): void => {
  assertMayCall(requester, { guests, suspended, appservices });
  if (auth === 'admin' && !requester.isAdmin)
    throw new MatrixError('M_FORBIDDEN', 'Only administrators of this server can do this.');
};
