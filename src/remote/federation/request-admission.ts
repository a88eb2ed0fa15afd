import { Gate } from '#src/kernel/limits/gate.ts';
import { aborted } from '#src/kernel/concurrency/or-aborted.ts';
import type { Timers } from '#src/kernel/timers.ts';
import type { DestinationBackoff } from './destination-backoff.ts';
import type { FederationTimeouts, FederationRequestOptions } from './federation-request.ts';
import { type FederationFailure, federationFailure, type FederationResult } from './federation-result.ts';

const CONNECT_MS = 10_000;
export const DEFAULT_TIMEOUTS: FederationTimeouts = {
  acceptMs: CONNECT_MS,
  headersMs: 30_000,
  bodyMs: 15_000,
  totalMs: 60_000,
};
export const CONCURRENCY = 1_024;
/** The same, to servers that could not be reached recently: they take long, and must not hold up the others. */
const CONCURRENCY_OF_FAILING = 64;
/** Connection attempts to such servers at once. Most get no response, and each costs a socket and nothing else. */
const TRIES_OF_FAILING = 512;
/** When to retry a request that never had its turn. */
const BUSY_MS = 5_000;
export const MAX_WAITING = 8_192;

/** How long a request is waited for. */
export interface RequestDeadline {
  /** Aborted when the request is given up. */
  readonly signal: AbortSignal;
  readonly timeouts: FederationTimeouts;
  /** Whether it is time that has run out. */
  readonly isLate: () => boolean;
}

export interface RequestAdmissionOptions {
  readonly serverName: string;
  /** Whether this server federates with that one. */
  readonly verdictOn: (serverName: string) => 'allowed' | 'denied' | 'disabled';
  readonly backoff: DestinationBackoff;
  readonly timers: Timers;
}

/** Admits requests to other servers: those that are allowed and promising, so many at once, each for a limited time. */
export class RequestAdmission<Reached extends object> {
  readonly #options: RequestAdmissionOptions;
  readonly #gate = new Gate(CONCURRENCY);
  readonly #gateOfFailing = new Gate(CONCURRENCY_OF_FAILING);
  readonly #gateOfTries = new Gate(TRIES_OF_FAILING);
  /** What ends requests whose answer, or the end of whose stream, has not come. */
  readonly #underWay = new Set<AbortController>();
  #isClosed = false;
  readonly #watching = new Set<() => void>();
  readonly #reach: (destination: string, deadline: RequestDeadline) => Promise<Reached | FederationFailure>;

  /** @param reach opens a connection to a server */
  constructor(
    options: RequestAdmissionOptions,
    reach: (destination: string, deadline: RequestDeadline) => Promise<Reached | FederationFailure>,
  ) {
    this.#options = options;
    this.#reach = reach;
  }

  /** Resolves when no request is under way. */
  async idle(): Promise<void> {
    while (this.#underWay.size > 0)
      await new Promise<void>((resolve) => {
        this.#watching.add(resolve);
      });
  }

  /** Aborts what is under way, and refuses everything from now on. */
  close(): void {
    this.#isClosed = true;
    for (const giving of this.#underWay) giving.abort();
  }

  /** Why a request is not begun. */
  #refusal({ destination, isUrgent }: FederationRequestOptions): FederationFailure | undefined {
    const { backoff, serverName, verdictOn } = this.#options;
    const verdict = verdictOn(destination);
    if (verdict === 'disabled') return federationFailure('disabled', destination, 'This server does not federate.');
    if (verdict === 'denied')
      return federationFailure('denied', destination, `This server does not federate with ${destination}.`);
    if (destination === serverName)
      return federationFailure('denied', destination, 'This server does not ask itself over the network.');
    const waitMs = backoff.waitMs(destination, isUrgent === true);
    if (waitMs > 0)
      return federationFailure('unreachable', destination, `${destination} could not be reached a moment ago.`, waitMs);
    if (this.#gate.waiting + this.#gateOfFailing.waiting + this.#gateOfTries.waiting >= MAX_WAITING)
      return federationFailure('unreachable', destination, 'This server makes too many requests already.');
    return undefined;
  }

  /**
   * Connects to a server and does something then.
   *
   * @returns what `work` came to, or why it was refused or did not end
   */
  async run(
    request: FederationRequestOptions,
    work: (deadline: RequestDeadline, reached: Reached) => Promise<FederationResult>,
  ): Promise<FederationResult> {
    const refusal = this.#refusal(request);
    if (refusal !== undefined) return refusal;
    const { destination } = request;
    const timeouts = { ...DEFAULT_TIMEOUTS, ...request.timeouts };
    const giving = new AbortController();
    const { signal } = giving;
    let isLate = false;
    let isWaiting = true;
    const giveUp = (): void => giving.abort();
    const timer = this.#options.timers.after(timeouts.totalMs, () => {
      isLate = true;
      giveUp();
    });
    if (this.#isClosed || request.signal?.aborted === true) giveUp();
    request.signal?.addEventListener('abort', giveUp);
    this.#underWay.add(giving);
    const ended = (): FederationFailure => {
      if (!isLate) return federationFailure('unreachable', destination, `The request to ${destination} was given up.`);
      return isWaiting
        ? federationFailure('unreachable', destination, 'This server makes too many requests already.', BUSY_MS)
        : federationFailure('timeout', destination, `${destination} took too long.`);
    };
    /** While it waited for its turn, other requests may have found that the server is down. */
    const inTurn = <T>(gate: Gate, task: () => Promise<T>): Promise<T | FederationFailure> => {
      isWaiting = true;
      return gate.run<T | FederationFailure>(async () => {
        isWaiting = false;
        return (signal.aborted ? ended() : this.#refusal(request)) ?? task();
      });
    };
    const deadline: RequestDeadline = { signal, timeouts, isLate: () => isLate };
    try {
      return await Promise.race([this.#inTurns(destination, inTurn, deadline, work), aborted(signal).then(ended)]);
    } finally {
      timer.cancel();
      request.signal?.removeEventListener('abort', giveUp);
      this.#underWay.delete(giving);
      if (this.#underWay.size === 0) {
        for (const resolve of this.#watching) resolve();
        this.#watching.clear();
      }
    }
  }

  /** Connects, and does something then. Where a server failed of late, these are two turns: few of those who wait for the first come to the second. */
  async #inTurns(
    destination: string,
    inTurn: <T>(gate: Gate, task: () => Promise<T>) => Promise<T | FederationFailure>,
    deadline: RequestDeadline,
    work: (deadline: RequestDeadline, reached: Reached) => Promise<FederationResult>,
  ): Promise<FederationResult> {
    if (this.#options.backoff.outageOf(destination) === undefined)
      return inTurn(this.#gate, async () => {
        const reached = await this.#reach(destination, deadline);
        return 'ok' in reached ? reached : work(deadline, reached);
      });
    const reached = await inTurn(this.#gateOfTries, () => this.#reach(destination, deadline));
    return 'ok' in reached ? reached : inTurn(this.#gateOfFailing, () => work(deadline, reached));
  }
}
