import type { RateLimiter, RateVerdict } from '#src/kernel/limits/rate-limiter.ts';
import { rankOf, type Turns } from '#src/kernel/event-loop/turns.ts';
import type { Work } from '#src/kernel/event-loop/work.ts';
import { limitExceeded, limiterOf } from '#src/protocol/errors/limit-exceeded.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { Asserted, Requester } from '#src/services/accounts/sessions/requester.ts';

/** The rate limit that refused requests are counted in, and requests without an account: by user where there is one, else by network. */
const REFUSED = 'refused';
/** The group that counts what requests cost: milliseconds of a core, by user where there is one, else by network. */
const WORK = 'work';
/** Users below these parts of their budget have the ranks that go first. */
const RANKS = [0.001, 0.01, 0.05];

const tooManyWaiting = (): MatrixError => limitExceeded('turns', 1_000);

/**
 * Whether the client keeps asking in spite of all refusals: then the connection is closed, since a refusal costs this
 * server as much as the request costs them. New connections are limited too.
 */
export const endsConnection = (error: MatrixError): boolean => limiterOf(error) === REFUSED;

/** Too many requests of one address wait to be authenticated: the connection is closed, since an answer would cost as much as the request. */
export class ArrivalRefused extends Error {
  constructor() {
    super('Too many requests wait to be looked at.');
    this.name = 'ArrivalRefused';
  }
}

/** Authenticates access tokens. */
export interface TokenReader {
  /**
   * @param allow `locked`: locked accounts may do this too
   * @param asserted the user that an application service acts as
   * @throws MatrixError M_UNKNOWN_TOKEN (with `soft_logout` where that applies), M_USER_LOCKED, M_FORBIDDEN, M_UNKNOWN_DEVICE
   */
  authenticate(token: string, allow?: 'locked', asserted?: Asserted): Promise<Requester>;
  /** Whether this is a token that was good a moment ago, so that looking at it costs nothing. */
  knows?(token: string): boolean;
}

/** Admission control: authenticates each request and applies the rate limits of its sender, over HTTP and WebSockets alike. */
export class Admission {
  readonly #limiter: RateLimiter;
  readonly #tokens: TokenReader;
  readonly #turns: Turns | undefined;

  /** @param turns in which requests begin; without it they begin at once */
  constructor(limiter: RateLimiter, tokens: TokenReader, turns?: Turns) {
    this.#limiter = limiter;
    this.#tokens = tokens;
    this.#turns = turns;
  }

  /**
   * Takes tokens of a rate limit; one, if not said otherwise.
   *
   * @param key a user, a server or a network
   * @throws MatrixError M_LIMIT_EXCEEDED, also when earlier requests have cost too much; asking in vain costs too
   */
  take(bucket: string, key: string, tokens = 1): void {
    this.#assert(bucket, key, this.#limiter.take(bucket, key, tokens));
    this.#assert(WORK, key, this.#limiter.check(WORK, key));
  }

  /** Puts tokens back that were taken for a key which turns out not to owe them; one, if not said otherwise. */
  refund(bucket: string, key: string, tokens = 1): void {
    this.#limiter.refund(bucket, key, tokens);
  }

  #assert(bucket: string, key: string, verdict: RateVerdict): void {
    if (verdict.ok) return;
    this.unaccounted(key);
    throw limitExceeded(bucket, verdict.retryAfterMs);
  }

  /**
   * Charges a key for what its request has cost. Cheap requests are paid with their token. Hashes of passwords are charged to users only: those of
   * strangers are limited as logins and registrations, and all people of a school, who come at once, may have one address.
   */
  charge(key: string, { cost, costOfHashes }: Work, isUser: boolean): void {
    const total = isUser ? cost + costOfHashes : cost;
    if (total >= 1) this.#limiter.charge(WORK, key, total);
  }

  /** Charges a key for milliseconds that were measured. */
  chargeMeasured(key: string, ms: number): void {
    this.#limiter.charge(WORK, key, ms);
  }

  /** Waits until there is time for a request of this key on the event loop. @throws MatrixError M_LIMIT_EXCEEDED */
  turn(key: string): Promise<void> | undefined {
    return this.#turns?.enter({ party: key, rank: rankOf(this.#limiter.used(WORK, key), RANKS) }, tooManyWaiting);
  }

  /** Waits until there is time for what a request of this key has to do next. */
  resume(key: string): Promise<void> | undefined {
    return this.#turns?.resume({ party: key, rank: rankOf(this.#limiter.used(WORK, key), RANKS) });
  }

  /**
   * Waits until there is time to look at a request that is not authenticated yet. Networks take turns, so that one that sends many waits
   * for themselves.
   *
   * @throws ArrivalRefused when so many wait that it is not even worth an answer
   */
  arrive(network: string): Promise<void> | undefined {
    if (this.#turns === undefined) return undefined;
    const used = Math.max(this.#limiter.used(REFUSED, network), this.#limiter.used(WORK, network));
    return this.#turns.enter({ party: network, rank: rankOf(used, RANKS) }, () => new ArrivalRefused());
  }

  /**
   * Limits requests without an account that no other limit covers: those refused before routing, preflights, probes.
   *
   * @throws MatrixError M_LIMIT_EXCEEDED
   */
  unaccounted(key: string): void {
    const verdict = this.#limiter.take(REFUSED, key);
    if (!verdict.ok) throw limitExceeded(REFUSED, verdict.retryAfterMs);
  }

  /**
   * Authenticates an access token. An unknown one costs a signature check and a statement, which its network pays for until the token
   * has proved valid.
   *
   * @throws MatrixError M_LIMIT_EXCEEDED, M_MISSING_TOKEN, and as `authenticate` does
   */
  async identify(
    network: string,
    token: string | undefined,
    allow?: 'locked',
    asserted?: Asserted,
  ): Promise<Requester> {
    if (token === undefined) {
      this.unaccounted(network);
      throw new MatrixError('M_MISSING_TOKEN', 'This request needs an access token, as Authorization: Bearer <token>.');
    }
    const isKnown = this.#tokens.knows?.(token) === true;
    if (!isKnown) this.unaccounted(network);
    let requester: Requester;
    try {
      requester = await this.#tokens.authenticate(token, allow, asserted);
    } catch (error) {
      if (isKnown) this.unaccounted(network);
      throw error;
    }
    if (!isKnown) this.#limiter.refund(REFUSED, network);
    return requester;
  }
}
