import type { RateLimiter } from '#src/kernel/limits/rate-limiter.ts';
import type { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { limitExceeded } from '#src/protocol/errors/limit-exceeded.ts';
import type { Database } from '#src/storage/database.ts';
import { findDevice } from '#src/storage/accounts/devices.ts';
import { isDeviceId } from '#src/protocol/identifiers/device-names.ts';

/** Groups of `rate_limits` that count failed attempts. */
const OF_ACCOUNT_AND_ADDRESS = 'login';
export const OF_ADDRESS = 'login_address';
const OF_ACCOUNT = 'login_account';
/** Those beyond the others, of an account, and of it from one network or with one device id. */
const RESERVE = 'login_reserve';
const SHARE_OF_RESERVE = 'login_reserve_share';
/** The group that counts authentications of an account: only clients that know the password use it up. */
const SUCCESSES = 'login_success';

/** What is known of an attempt before its password is looked at. */
export interface LoginAttempt {
  /** The user id, or what the client calls a user who is none. */
  readonly name: string;
  readonly network: string;
  /** Whether devices of the account were used from there. */
  readonly isKnown: boolean;
  /** The user whose access token came with it: others cannot use up their attempts. */
  readonly sessionOf?: string | undefined;
  /** The device that wants to be logged in again. */
  readonly deviceId?: string | undefined;
}

/** A group of limits, and a key in it. */
type Count = readonly [bucket: string, key: string];

/** A way in which an attempt may be let in. */
interface Way {
  /** What it takes. */
  readonly takes: readonly Count[];
  /** What has to be left, without being taken. */
  readonly needs: readonly Count[];
}

/**
 * Limits failed attempts to prove who one is by a password: of an account from one network; of a network, whichever accounts; and of an account
 * from networks where it is not in use. So an attacker cannot lock the owner out of the network that they use, and cannot guess for long from
 * many networks at once. What the attacker uses up is not all: a reserve is left for networks that have hardly tried, and for clients that know a
 * device of the account, so that the owner can log in from other networks and from a network that they share with the attacker.
 */
export class LoginAttempts {
  readonly #database: Database;
  readonly #rateLimiter: RateLimiter;

  constructor({ database, rateLimiter }: { readonly database: Database; readonly rateLimiter: RateLimiter }) {
    this.#database = database;
    this.#rateLimiter = rateLimiter;
  }

  /**
   * Counts an attempt as failed before it is known how it ends: of many at once no more are let in than of one after the other.
   *
   * @returns takes that back, when it was none
   * @throws MatrixError M_LIMIT_EXCEEDED
   */
  async begin(attempt: LoginAttempt): Promise<() => void> {
    const counts = countsOf(attempt);
    const refused = this.#take(counts);
    if (refused === undefined) return () => this.#refund(counts);
    const ways: Way[] = [{ takes: counts, needs: [] }];
    for await (const way of this.#reserves(attempt, counts)) {
      if (this.#waitFor(way.needs) === 0 && this.#take(way.takes) === undefined) return () => this.#refund(way.takes);
      ways.push(way);
    }
    throw tooMany(refused, Math.min(...ways.map(({ needs, takes }) => this.#waitFor([...needs, ...takes]))));
  }

  /**
   * Counts that a request has proved to be this user's.
   *
   * @throws MatrixError M_LIMIT_EXCEEDED
   */
  succeeded(userId: string): void {
    const verdict = this.#rateLimiter.take(SUCCESSES, userId);
    if (!verdict.ok)
      throw limitExceeded(
        SUCCESSES,
        verdict.retryAfterMs,
        'Too many logins of this account: wait before the next one.',
      );
  }

  /** What an attempt may take of the reserve, and when. Accounts that are none are treated like others. */
  async *#reserves(
    { deviceId, name, network, sessionOf }: LoginAttempt,
    counts: readonly Count[],
  ): AsyncGenerator<Way> {
    if (sessionOf !== undefined) return;
    const takes = (who: string): Count[] => [
      [SHARE_OF_RESERVE, `${name} ${who}`],
      [RESERVE, name],
    ];
    const needs = counts.filter(([bucket]) => bucket !== OF_ACCOUNT);
    // Where only the account has used up its own, not this network.
    if (needs.length < counts.length) yield { takes: takes(network), needs };
    if (deviceId === undefined || !isDeviceId(deviceId)) return;
    const device = await this.#database.read((tx) => findDevice(tx, name, deviceId));
    if (device !== undefined) yield { takes: takes(`device ${deviceId}`), needs: [] };
  }

  /** Takes all or none. @returns the first group in which there is none left */
  #take(counts: readonly Count[]): string | undefined {
    for (const [index, [bucket, key]] of counts.entries()) {
      if (this.#rateLimiter.take(bucket, key).ok) continue;
      this.#refund(counts.slice(0, index));
      return bucket;
    }
    return undefined;
  }

  /** Milliseconds until something is left in each of these. */
  #waitFor(counts: readonly Count[]): number {
    return counts.reduce((longest, [bucket, key]) => {
      const verdict = this.#rateLimiter.check(bucket, key);
      return verdict.ok ? longest : Math.max(longest, verdict.retryAfterMs);
    }, 0);
  }

  #refund(counts: readonly Count[]): void {
    for (const [bucket, key] of counts) this.#rateLimiter.refund(bucket, key);
  }
}

const countsOf = ({ isKnown, name, network, sessionOf }: LoginAttempt): Count[] => {
  if (sessionOf !== undefined) return [[OF_ACCOUNT_AND_ADDRESS, `${sessionOf} by session`]];
  const there: Count = [OF_ACCOUNT_AND_ADDRESS, `${name} ${network}`];
  return isKnown ? [there] : [there, [OF_ADDRESS, network], [OF_ACCOUNT, name]];
};

/** @param retryAfterMs until the first moment at which the attempt would be let in */
const tooMany = (bucket: string, retryAfterMs: number): MatrixError =>
  limitExceeded(bucket, Math.max(retryAfterMs, 1), 'Too many attempts to log in: wait before the next one.');
