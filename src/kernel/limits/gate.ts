/** Limits concurrency; further callers wait in line. */
export class Gate {
  readonly #limit: number;
  readonly #line: (() => void)[] = [];
  #inside = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Runs `work` when there is room for it. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#inside >= this.#limit) {
      await new Promise<void>((resolve) => {
        this.#line.push(resolve);
      });
    } else this.#inside++;
    try {
      return await work();
    } finally {
      // The next one takes the place over: no newcomer can slip in before it. In a turn of its own, since a line of those who
      // need not wait for anything inside would else be one turn.
      const next = this.#line.shift();
      if (next === undefined) this.#inside--;
      else setImmediate(next);
    }
  }

  get waiting(): number {
    return this.#line.length;
  }
}

/** Limits concurrency for each key: what has one key waits for nothing that has another. */
export class GateByKey<K> {
  readonly #limit: number;
  readonly #gates = new Map<K, { readonly gate: Gate; users: number }>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** How many wait, whatever key they have. */
  get waitingOfAll(): number {
    let sum = 0;
    for (const { gate } of this.#gates.values()) sum += gate.waiting;
    return sum;
  }

  /** How many that have a key wait. */
  waiting(key: K): number {
    return this.#gates.get(key)?.gate.waiting ?? 0;
  }

  /** Runs `work` when there is room for it. */
  async run<T>(key: K, work: () => Promise<T>): Promise<T> {
    const known = this.#gates.get(key) ?? { gate: new Gate(this.#limit), users: 0 };
    this.#gates.set(key, known);
    known.users += 1;
    try {
      return await known.gate.run(work);
    } finally {
      known.users -= 1;
      if (known.users === 0) this.#gates.delete(key);
    }
  }

  /** Waits until there is room, for what is no single piece of work, such as a stream. @returns leaves: to be called once it is over */
  enter(key: K): Promise<() => void> {
    const { promise: isOver, resolve: leave } = Promise.withResolvers<void>();
    return new Promise((resolve) => {
      // It ends when its caller leaves.
      void this.run(key, () => {
        resolve(leave);
        return isOver;
      });
    });
  }
}
