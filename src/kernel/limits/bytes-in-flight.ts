import type { Counter, Metrics } from '#src/kernel/metrics.ts';
import { networkOf } from '#src/kernel/network.ts';
import { Share, SharedBudget, Shares } from './shared-budget.ts';

/** What bytes are held for: the body of a request, an answer that waits to be read, frames of a WebSocket in either direction. */
export type Cargo = 'body' | 'answer' | 'frame';

/** Bytes that may be in memory on their way in or out. */
export interface BytesInFlightLimits {
  /** Of all together. */
  readonly total: number;
  /** Of one user, over all their connections. */
  readonly user: number;
  /** Of one address (a /64 of IPv6). */
  readonly address: number;
  /** Of one connection. */
  readonly connection: number;
}

export const DEFAULT_BYTES_IN_FLIGHT: BytesInFlightLimits = {
  total: 256 * 1024 * 1024,
  user: 64 * 1024 * 1024,
  address: 96 * 1024 * 1024,
  connection: 64 * 1024 * 1024,
};

/** Bytes of memory that a value of JSON takes when it is parsed, about: a place in its array or object, and what it consists of. */
const PER_VALUE = 48;

/** What JSON weighs as long as it is worked on: its text, and the values that became of it. @param values 0 where they are so few that they were not counted */
export const bytesOfJson = (bytes: number, values: number): number => bytes + PER_VALUE * values;

/** The bytes of one request, or of one WebSocket. */
export class BytesHeld {
  /** The user that they count for, once known. What was taken before counts for the address alone. */
  userId: string | undefined;
  readonly #of: BytesInFlight;
  readonly #address: string;
  readonly #connection: object;
  #bytes = 0;
  #shares: readonly [Share, Share, Share | undefined] | undefined;

  constructor(of: BytesInFlight, address: string, connection: object) {
    this.#of = of;
    this.#address = address;
    this.#connection = connection;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Takes more bytes. @returns false when there are not so many left for them: what they were for has to go */
  take(cargo: Cargo, bytes: number): boolean {
    const shares = this.#shares ?? this.#of.sharesOf(this.#connection, this.#address, this.userId);
    if (!this.#of.take(cargo, bytes, shares)) return false;
    this.#shares = shares;
    this.#bytes += bytes;
    return true;
  }

  /** Holds so many bytes from now on, more or fewer than before. @returns false when there are not so many left: then it holds what it held */
  hold(cargo: Cargo, bytes: number): boolean {
    if (bytes > this.#bytes) return this.take(cargo, bytes - this.#bytes);
    this.#give(this.#bytes - bytes);
    return true;
  }

  /** Gives everything back; may be called again. */
  release(): void {
    this.#give(this.#bytes);
  }

  #give(bytes: number): void {
    const shares = this.#shares;
    if (shares === undefined || bytes === 0) return;
    this.#bytes -= bytes;
    // What is taken after all was given back counts for its owner at that time.
    if (this.#bytes === 0) this.#shares = undefined;
    this.#of.give(bytes, shares);
  }
}

/**
 * The memory for what clients send and do not read, over all connections: one budget, of which no client gets so much that
 * nothing is left for others. What is held only within one turn of the event loop, or is a few kilobytes, need not be counted.
 */
export class BytesInFlight {
  readonly #budget: SharedBudget;
  readonly #users: Shares;
  readonly #addresses: Shares;
  readonly #connectionLimit: number;
  readonly #connections = new WeakMap<object, Share>();
  readonly #refused: Counter;

  constructor(limits: BytesInFlightLimits, metrics: Metrics) {
    this.#budget = new SharedBudget(limits.total);
    this.#users = new Shares(limits.user);
    this.#addresses = new Shares(limits.address);
    this.#connectionLimit = limits.connection;
    this.#refused = metrics.counter(
      'tsudoi_bytes_in_flight_refused_total',
      'bodies, answers and frames for which the budget of bytes in flight had no room',
      ['cargo'],
    );
    metrics.gaugeOf(
      'tsudoi_bytes_in_flight',
      'bytes of bodies, answers and frames on their way',
      () => this.#budget.used,
    );
    metrics.gaugeOf('tsudoi_bytes_in_flight_limit', 'limit of tsudoi_bytes_in_flight', () => this.#budget.total);
  }

  /** Bytes that are held. */
  get used(): number {
    return this.#budget.used;
  }

  /**
   * Begins to count the bytes of a request or a WebSocket.
   *
   * @param address of the client, as it is
   * @param connection what stands for the connection: its socket
   */
  open(address: string, connection: object): BytesHeld {
    return new BytesHeld(this, address, connection);
  }

  /** Used by `BytesHeld` alone. */
  sharesOf(
    connection: object,
    address: string,
    userId: string | undefined,
  ): readonly [Share, Share, Share | undefined] {
    let own = this.#connections.get(connection);
    if (own === undefined) this.#connections.set(connection, (own = new Share(this.#connectionLimit)));
    return [own, this.#addresses.of(networkOf(address)), userId === undefined ? undefined : this.#users.of(userId)];
  }

  /** Used by `BytesHeld` alone. */
  take(cargo: Cargo, bytes: number, [connection, address, user]: readonly [Share, Share, Share | undefined]): boolean {
    if (this.#budget.take(bytes, connection, address, user)) return true;
    this.#refused.inc({ cargo });
    return false;
  }

  /** Used by `BytesHeld` alone. */
  give(bytes: number, [connection, address, user]: readonly [Share, Share, Share | undefined]): void {
    this.#budget.give(bytes, connection, address, user);
  }
}
