import { availableParallelism } from 'node:os';
import * as argon2 from '@node-rs/argon2';
import { FairGate } from '#src/kernel/limits/fair-gate.ts';
import { currentWork } from '#src/kernel/event-loop/work.ts';
import type { Place } from '#src/kernel/limits/line.ts';
import { limitExceeded } from '#src/protocol/errors/limit-exceeded.ts';
import type { MatrixError } from '#src/protocol/errors/matrix-error.ts';

/** What one hash costs. Memory in KiB. */
export interface Argon2Cost {
  readonly memoryCost: number;
  readonly timeCost: number;
  readonly parallelism: number;
}

/** `password.cost`: OWASP's recommendation for argon2id, and one for tests that is no protection at all. */
export const PASSWORD_COSTS = {
  production: { memoryCost: 19_456, timeCost: 2, parallelism: 1 },
  low: { memoryCost: 1_024, timeCost: 2, parallelism: 1 },
} as const satisfies Record<string, Argon2Cost>;

/** What computes hashes (argon2id, PHC strings) off the event loop. */
export interface Argon2 {
  hash(password: string, cost: Argon2Cost): Promise<string>;
  /** @throws for what is no hash of argon2 */
  verify(hash: string, password: string): Promise<boolean>;
  /** @throws for what is no hash of argon2 */
  parseOptions(hash: string): Argon2Cost;
}

export const MAX_WAITING = 1_000;

export interface PasswordHasherOptions {
  readonly cost: Argon2Cost;
  /** Default: `@node-rs/argon2`. */
  readonly argon2?: Argon2;
  /** Hashes computed at once; default: the number of cores. The rest wait in line. */
  readonly concurrency?: number;
  /** How many of one party may wait, see `FairGate`; more are answered 429. Default `MAX_WAITING`. */
  readonly maxWaiting?: number;
}

/**
 * argon2id, computed on libuv's thread pool: the event loop never waits for a hash. Only so many run at once, or logins would take the
 * threads and cores that everything else needs. The others wait in a line in which networks take turns, and known users go first.
 */
export class PasswordHasher {
  readonly #argon2: Argon2;
  readonly #cost: Argon2Cost;
  readonly #gate: FairGate;
  #decoy: Promise<string> | undefined;

  constructor(options: PasswordHasherOptions) {
    this.#argon2 = options.argon2 ?? argon2;
    this.#cost = options.cost;
    this.#gate = new FairGate({
      concurrency: options.concurrency ?? availableParallelism(),
      maxWaiting: options.maxWaiting ?? MAX_WAITING,
    });
  }

  /** How many wait in line. */
  get waiting(): number {
    return this.#gate.waiting;
  }

  /** @throws MatrixError M_LIMIT_EXCEEDED when too many wait already */
  hash(password: string, place: Place): Promise<string> {
    this.#charge(this.#cost);
    return this.#gate.run(place, () => this.#argon2.hash(password, this.#cost), lineIsFull);
  }

  /**
   * Compares. Without a hash the same work is done for nothing, so that the time taken does not tell whether there is an account.
   *
   * @throws MatrixError M_LIMIT_EXCEEDED when too many wait already
   */
  async verify(passwordHash: string | null | undefined, password: string, place: Place): Promise<boolean> {
    if (passwordHash !== null && passwordHash !== undefined) {
      this.#charge(this.#argon2.parseOptions(passwordHash));
      return this.#gate.run(place, () => this.#argon2.verify(passwordHash, password), lineIsFull);
    }
    this.#charge(this.#cost);
    this.#decoy ??= this.hash('nobody has this password', { party: 'decoy', isPreferred: true });
    const decoy = this.#decoy;
    decoy.catch(() => (this.#decoy = undefined));
    const digest = await decoy;
    await this.#gate.run(place, () => this.#argon2.verify(digest, password), lineIsFull);
    return false;
  }

  /** What asks for a hash pays for it. */
  #charge({ memoryCost, timeCost }: Argon2Cost): void {
    const work = currentWork();
    if (work !== undefined) work.kibHashed += memoryCost * timeCost;
  }

  /** Whether a hash was made with another cost than today's. */
  isOutdated(passwordHash: string): boolean {
    const made = this.#argon2.parseOptions(passwordHash);
    const { memoryCost, timeCost, parallelism } = this.#cost;
    return made.memoryCost !== memoryCost || made.timeCost !== timeCost || made.parallelism !== parallelism;
  }
}

const lineIsFull = (): MatrixError =>
  limitExceeded('password_hashing', 2_000, 'Too many users are logging in at the moment: try again shortly.');
