import { LRUCache } from 'lru-cache';
import { atMost } from '#src/kernel/caches/at-most.ts';
import type { Clock } from '#src/kernel/clock.ts';
import { OnceByKey } from '#src/kernel/caches/once.ts';
import type { Database } from '#src/storage/database.ts';
import { confirmGeneration, findAdminSession, findSession } from '#src/storage/accounts/sessions.ts';
import type { AccessTokenClaims, AccessTokens } from './access-token.ts';
import { LiveSessions, type LiveToken } from './live-sessions.ts';
import type { Requester } from './requester.ts';
import { accountExpired, unknownToken, userLocked } from '#src/services/accounts/users/account-errors.ts';

/** Access tokens, verified against the database once and remembered for as long as nothing changes. */
export class VerifiedTokens {
  readonly #database: Database;
  readonly #clock: Clock;
  readonly #tokens: AccessTokens;
  readonly #live: LiveSessions;
  readonly #loading = new OnceByKey<string, LiveToken>();
  /** Sessions that were asked for and are not there any more. */
  readonly #ended = new LRUCache<string, true>(atMost(10_000));
  /** Counts invalidations, so that what was read before one is not remembered after it. */
  #epoch = 0;

  readonly #accountsExpire: boolean;

  /**
   * @param max tokens remembered at once
   * @param accountsExpire whether accounts have to be renewed
   */
  constructor(database: Database, clock: Clock, tokens: AccessTokens, max: number, accountsExpire = false) {
    this.#accountsExpire = accountsExpire;
    this.#database = database;
    this.#clock = clock;
    this.#tokens = tokens;
    this.#live = new LiveSessions(max);
  }

  /**
   * The requester of a token. A token that was seen before costs no statement.
   *
   * @param allow `locked`: for logging out, which locked accounts may do, and expired ones
   * @throws MatrixError M_UNKNOWN_TOKEN, with `soft_logout` when the token has expired but its session has not; M_USER_LOCKED,
   *   ORG_MATRIX_EXPIRED_ACCOUNT
   */
  async authenticate(token: string, allow?: 'locked'): Promise<Requester> {
    const live = this.#live.get(token) ?? (await this.#loading.run(token, () => this.#load(token)));
    if (live.expiresTs <= this.#clock.now()) {
      // It may have ended since it was remembered; the answer differs.
      await this.#load(token);
      throw unknownToken('The access token has expired: refresh it.', true);
    }
    if (live.locked && allow !== 'locked') throw userLocked();
    if (live.accountExpiresTs <= this.#clock.now() && allow !== 'locked') throw accountExpired();
    return live.requester;
  }

  /** Whether looking at this token costs neither a signature check nor a statement. */
  knows(token: string): boolean {
    const live = this.#live.peek(token);
    return live !== undefined && live.expiresTs > this.#clock.now();
  }

  async #load(token: string): Promise<LiveToken> {
    const claims = this.#tokens.read(token);
    if (claims === undefined) throw unknownToken('This is not an access token of this server.');
    for (;;) {
      const epoch = this.#epoch;
      const live = await this.#verify(claims);
      if (epoch !== this.#epoch) continue;
      this.#live.set(token, live);
      return live;
    }
  }

  async #verify(claims: AccessTokenClaims): Promise<LiveToken> {
    // A session that has ended does not come back: clients that still use its tokens are told so from memory.
    const find = claims.deviceId === undefined ? findAdminSession : findSession;
    const session = this.#ended.has(claims.sessionId) ? undefined : await find(this.#database, claims.sessionId);
    if (session === undefined) this.#ended.set(claims.sessionId, true);
    if (session === undefined || session.deactivated) throw unknownToken('The session of this access token has ended.');
    const expired = claims.expiresTs !== undefined && claims.expiresTs <= this.#clock.now();
    // "The old refresh token remains valid until the new access token or refresh token is used"
    if (claims.generation > session.generation && !expired)
      await confirmGeneration(this.#database, session.sessionId, claims.generation);
    return {
      requester: {
        userId: session.userId,
        deviceId: session.deviceId ?? undefined,
        isGuest: session.isGuest,
        isAdmin: session.admin,
        isSuspended: session.suspended,
        ...(session.actingAdmin === null ? {} : { adminLogin: { id: session.sessionId, admin: session.actingAdmin } }),
        rateLimited: !session.rateLimitExempt,
      },
      userId: session.userId,
      sessionId: session.sessionId,
      locked: session.locked,
      accountExpiresTs: this.#accountsExpire && !session.admin ? (session.accountExpiresTs ?? Infinity) : Infinity,
      expiresTs: claims.expiresTs ?? Infinity,
    };
  }

  /** Forgets the tokens of some sessions of a user, or of all of them. */
  forget(userId: string, which?: (live: LiveToken) => boolean): void {
    this.#epoch += 1;
    this.#live.drop(userId, which);
  }
}
