/** What one party (a user, a network, a connection) holds of a budget. */
export class Share {
  /** Units of the budget that it holds. */
  held = 0;
  /** Units that it may hold at most, however much is free. */
  readonly limit: number;
  readonly #forget: (() => void) | undefined;

  /** @param forget called when it holds nothing any more */
  constructor(limit: number, forget?: () => void) {
    this.limit = limit;
    this.#forget = forget;
  }

  /** Called by the budget alone. */
  change(units: number): void {
    this.held += units;
    if (this.held === 0) this.#forget?.();
  }

  /** Called by the budget alone: nothing was taken. */
  leave(): void {
    if (this.held === 0) this.#forget?.();
  }
}

/** The shares of parties of one kind by name; a party that holds nothing is not remembered. */
export class Shares {
  readonly #limit: number;
  readonly #shares = new Map<string, Share>();

  /** @param limit units for each of them */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** The share of a party. To be used in the same turn of the event loop: it is forgotten when it holds nothing. */
  of(name: string): Share {
    const known = this.#shares.get(name);
    if (known !== undefined) return known;
    const share = new Share(this.#limit, () => this.#shares.delete(name));
    this.#shares.set(name, share);
    return share;
  }

  /** How many hold something. */
  get size(): number {
    return this.#shares.size;
  }
}

/**
 * Something of which there is only so much (bytes in memory, connections), shared by many. A party may hold at most a part, half if
 * nothing else is said, of what all others leave, so that there is always something left for one more: few get much, many get less, and nobody gets nothing.
 */
export class SharedBudget {
  /** Units of all shares together. */
  readonly total: number;
  readonly #part: number;
  #used = 0;

  /** @param part of what all others leave, which one party may hold; between 0 and 1 */
  constructor(total: number, part = 1 / 2) {
    this.total = total;
    this.#part = part;
  }

  /** Units that are held. */
  get used(): number {
    return this.#used;
  }

  /**
   * Takes units for all of these parties at once (the user, the network and the connection that one request belongs to), or for none.
   *
   * @returns whether there was enough left for each of them
   */
  take(units: number, first: Share, second?: Share, third?: Share): boolean {
    const fits =
      this.#fits(units, first) &&
      (second === undefined || this.#fits(units, second)) &&
      (third === undefined || this.#fits(units, third));
    if (!fits) {
      first.leave();
      second?.leave();
      third?.leave();
      return false;
    }
    this.#used += units;
    first.change(units);
    second?.change(units);
    third?.change(units);
    return true;
  }

  /** Gives units back that the same parties took. */
  give(units: number, first: Share, second?: Share, third?: Share): void {
    this.#used -= units;
    first.change(-units);
    second?.change(-units);
    third?.change(-units);
  }

  /** Units that a party could take now; none at least. */
  free(share: Share): number {
    return Math.max(0, Math.floor(this.#most(share) - share.held));
  }

  #fits(units: number, share: Share): boolean {
    return share.held + units <= this.#most(share);
  }

  #most(share: Share): number {
    return Math.min(share.limit, this.#part * (this.total - this.#used + share.held));
  }
}
