import type { Listener, Subscribable } from '#src/kernel/signal.ts';
import type { Database } from '#src/storage/database.ts';
import type { Statement, Tx } from '#src/storage/database.ts';

/** What whoever still runs gets when the process has been killed. */
export class Killed extends Error {
  constructor() {
    super('the process was killed');
    this.name = 'Killed';
  }
}

/**
 * A database whose process is killed at a step: a statement that it sends, or the commit of a transaction. From then on it answers nobody.
 * Half of the kills come before the step, half after it: then it was done, and nobody hears of it.
 */
export class MortalDatabase {
  readonly database: Database;
  #steps = 0;
  #killAt = Infinity;
  #isDead = false;
  readonly #death = Promise.withResolvers<void>();
  /** What was sent and is not answered, by whoever is dead by then. */
  readonly #open = new Set<Promise<unknown>>();
  /** End what it listens to of the database that its lives share. */
  readonly #listening = new Set<() => void>();

  constructor(real: Database) {
    const query = async (statement: Statement, values?: readonly unknown[]): Promise<unknown> =>
      this.#step(() => this.#sent(real.query(statement, values)));
    const inTransaction =
      (begin: 'read' | 'write') =>
      (use: (tx: Tx) => Promise<unknown>): Promise<unknown> =>
        this.#step(() => this.#sent(real[begin]((tx) => use(this.#mortal(tx)))));
    const connectionLost: Subscribable<void> = {
      subscribe: (listener: Listener<void>) => {
        const stop = real.connectionLost.subscribe(listener);
        this.#listening.add(stop);
        return stop;
      },
    };
    this.database = new Proxy(real, {
      get: (target, name) => {
        if (name === 'query') return query;
        if (name === 'read' || name === 'write') return inTransaction(name);
        if (name === 'writeAgain') return inTransaction('write');
        if (name === 'connectionLost') return connectionLost;
        const member: unknown = Reflect.get(target, name, target);
        return typeof member === 'function' ? member.bind(target) : member;
      },
    });
  }

  /** How many steps were made since the last kill was ordered. */
  get steps(): number {
    return this.#steps;
  }

  get isDead(): boolean {
    return this.#isDead;
  }

  /** Listens no longer to the database that its lives share, which outlives it. */
  letGo(): void {
    for (const stop of this.#listening) stop();
    this.#listening.clear();
  }

  /** Does something until it is done or the process is killed. @returns whether it was done */
  async survives(work: () => Promise<unknown>): Promise<boolean> {
    const done = work().then(
      () => !this.#isDead,
      (error: unknown) => {
        if (!this.#isDead) throw error;
        return false;
      },
    );
    const hasSurvived = await Promise.race([done, this.#death.promise.then(() => false)]);
    // The database notices that nobody is there any more, and gives back what was locked.
    if (!hasSurvived) await Promise.allSettled(this.#open);
    return hasSurvived;
  }

  #sent<T>(answer: Promise<T>): Promise<T> {
    this.#open.add(answer);
    const forget = (): void => void this.#open.delete(answer);
    answer.then(forget, forget);
    return answer;
  }

  /** Kills the process at the n-th half step from now: 0 before the first step, 1 after it, 2 before the second ... */
  killAt(halfStep: number): void {
    this.#steps = 0;
    this.#killAt = halfStep;
  }

  #mortal(tx: Tx): Tx {
    return new Proxy(tx, {
      get: (target, name) => {
        if (name === 'query')
          return (statement: Statement, values?: readonly unknown[]) =>
            this.#step(() => target.query(statement, values));
        const member: unknown = Reflect.get(target, name, target);
        return typeof member === 'function' ? member.bind(target) : member;
      },
    });
  }

  async #step<T>(work: () => Promise<T>): Promise<T> {
    const before = 2 * this.#steps;
    this.#steps += 1;
    this.#dieAt(before);
    const result = await work();
    this.#dieAt(before + 1);
    return result;
  }

  #dieAt(halfStep: number): void {
    if (halfStep === this.#killAt) {
      this.#isDead = true;
      this.#death.resolve();
    }
    if (this.#isDead) throw new Killed();
  }
}
