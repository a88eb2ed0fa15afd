import type { Socket } from 'node:net';
import type { Counter, Metrics } from '#src/kernel/metrics.ts';
import { networkOf } from '#src/kernel/network.ts';
import type { RateLimiter } from '#src/kernel/limits/rate-limiter.ts';
import { SharedBudget, Shares } from '#src/kernel/limits/shared-budget.ts';
import type { ClientAddress } from './middleware/client-address.ts';

/** Tokens of the limit `connection` that a network pays for a connection that had to be closed because of what was sent on it. */
export const ABUSE = 500;
/**
 * The share of the free connections that one address may have. More than half: an office or a load test has thousands behind one address,
 * and many processes may have only 20,000 files open.
 */
const PART_OF_ONE = 2 / 3;
/** Requests that may be pipelined on a connection. Clients do not pipeline; few tools do. */
export const MAX_PIPELINED = 16;

export interface ConnectionLimits {
  /** Open connections. It must stay below the number of files that the process may open: running out of those fails in worse places. */
  readonly maxConnections: number;
  /** Of those, for one address (a /64 of IPv6) that is not a trusted proxy. */
  readonly maxConnectionsPerAddress: number;
}

export interface ConnectionDependencies {
  readonly metrics: Metrics;
  readonly addresses: ClientAddress;
  /** Takes a token of the limit `connection` for each new connection, by address. */
  readonly rateLimiter?: RateLimiter;
}

/** Which connections are let in: not too many at once, not too many of one address, and not too fast. */
export class Connections {
  readonly #budget: SharedBudget;
  readonly #shares: Shares;
  readonly #addresses: ClientAddress;
  readonly #rateLimiter: RateLimiter | undefined;
  readonly #refused: Counter;
  readonly #pipelined = new WeakMap<Socket, number>();
  readonly #open = new Set<Socket>();

  constructor(limits: ConnectionLimits, deps: ConnectionDependencies) {
    this.#budget = new SharedBudget(limits.maxConnections, PART_OF_ONE);
    this.#shares = new Shares(limits.maxConnectionsPerAddress);
    this.#addresses = deps.addresses;
    this.#rateLimiter = deps.rateLimiter;
    this.#refused = deps.metrics.counter(
      'tsudoi_http_connections_refused_total',
      'connections that the server closed, by reason',
      ['reason'],
    );
    deps.metrics.gaugeOf('tsudoi_http_connections', 'open connections, WebSockets included', () => this.#open.size);
    deps.metrics.gaugeOf('tsudoi_http_connections_limit', 'limit of tsudoi_http_connections', () => this.#budget.total);
  }

  /** Whether a new connection may stay. It is counted until it closes. */
  admit(socket: Socket): boolean {
    if (this.#open.size >= this.#budget.total) return this.#refuse('total');
    const address = this.#addresses.of(socket.remoteAddress, undefined);
    if (this.#addresses.isTrusted(address)) {
      this.#count(socket, () => {});
      return true;
    }
    const network = networkOf(address);
    if (this.#rateLimiter?.take('connection', network).ok === false) return this.#refuse('rate');
    if (!this.#budget.take(1, this.#shares.of(network))) return this.#refuse('address');
    this.#count(socket, () => this.#budget.give(1, this.#shares.of(network)));
    return true;
  }

  /**
   * Whether a connection may have one more request that waits for answers to those before it.
   *
   * @param onAnswered calls its listener when the answer has left
   */
  mayPipeline(socket: Socket, onAnswered: (listener: () => void) => void): boolean {
    const waiting = (this.#pipelined.get(socket) ?? 0) + 1;
    if (waiting > MAX_PIPELINED) {
      this.abused(socket, 'pipelining');
      return false;
    }
    this.#pipelined.set(socket, waiting);
    onAnswered(() => this.#pipelined.set(socket, (this.#pipelined.get(socket) ?? 1) - 1));
    return true;
  }

  /** Closes those on which nothing has come yet. */
  closeUnused(): void {
    for (const socket of this.#open) if (socket.bytesRead === 0) socket.destroy();
  }

  /** Charges the network of a connection that is closed because of what was sent on it. */
  abused(socket: Socket, reason: 'pieces' | 'pipelining'): void {
    const address = this.#addresses.of(socket.remoteAddress, undefined);
    if (!this.#addresses.isTrusted(address)) this.#rateLimiter?.charge('connection', networkOf(address), ABUSE);
    this.#refuse(reason);
  }

  #count(socket: Socket, onClose: () => void): void {
    this.#open.add(socket);
    socket.once('close', () => {
      this.#open.delete(socket);
      onClose();
    });
  }

  #refuse(reason: string): false {
    this.#refused.inc({ reason });
    return false;
  }
}
