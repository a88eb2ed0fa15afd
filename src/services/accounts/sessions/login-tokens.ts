import type { Clock } from '#src/kernel/clock.ts';
import type { Random } from '#src/kernel/random.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { AuthData } from '#src/services/accounts/uia/stages.ts';
import type { UiaService } from '#src/services/accounts/uia/uia-service.ts';
import type { UserService } from '#src/services/accounts/users/user-service.ts';
import type { Database, Tx } from '#src/storage/database.ts';
import { findLoginToken, insertLoginToken, takeLoginToken } from '#src/storage/accounts/proof-tokens.ts';
import { userDeactivated } from '#src/services/accounts/users/account-errors.ts';
import { hashOfSecret } from '#src/protocol/identifiers/opaque-secret.ts';
import { PASSWORD_FLOWS } from '#src/services/accounts/uia/flows.ts';
import type { Requester } from './requester.ts';

/** "`120000` (2 minutes) is recommended as a default." */
const LIFETIME_MS = 120_000;
export interface LoginToken {
  readonly token: string;
  readonly expiresInMs: number;
}

/** Tokens with which a user logs a further client in. Client-Server API, "POST /login/get_token". */
export class LoginTokens {
  readonly #deps: {
    readonly database: Database;
    readonly clock: Clock;
    readonly random: Random;
    readonly uia: UiaService;
    readonly users: UserService;
  };

  constructor(deps: {
    readonly database: Database;
    readonly clock: Clock;
    readonly random: Random;
    readonly uia: UiaService;
    readonly users: UserService;
  }) {
    this.#deps = deps;
  }

  /**
   * Makes a token that is good for one login within two minutes. "Servers MUST always re-prompt the user": each token needs an
   * authentication of its own.
   *
   * @throws UiaChallenge
   */
  async issue(requester: Requester, auth: AuthData | undefined, ip: string): Promise<LoginToken> {
    const { database, clock, random, uia } = this.#deps;
    const { userId } = requester;
    return uia.perform({ operation: 'generateLoginToken', flows: PASSWORD_FLOWS, userId, auth, ip }, async () => {
      const token = `tdl_${random.string(43)}`;
      const now = clock.now();
      await database.write((tx) =>
        insertLoginToken(tx, { hash: hashOfSecret(token), userId, expiresTs: now + LIFETIME_MS }, now),
      );
      return { token, expiresInMs: LIFETIME_MS };
    });
  }

  /** The user of a token. @throws MatrixError M_FORBIDDEN when it is invalid, was used or has expired; M_USER_DEACTIVATED */
  async accountOf(token: string): Promise<{ readonly userId: string; readonly locked: boolean }> {
    const { database, clock, users } = this.#deps;
    const found = await findLoginToken(database, hashOfSecret(token));
    if (found === undefined || found.expiresTs <= clock.now()) throw notGood();
    const account = await users.account(found.userId);
    if (account === undefined || account.deactivated) throw userDeactivated();
    return { userId: account.userId, locked: account.locked };
  }

  /** Spends a token, in the transaction of the login that it is for. @throws MatrixError M_FORBIDDEN when another login has spent it */
  async spend(tx: Tx, token: string): Promise<void> {
    if (!(await takeLoginToken(tx, hashOfSecret(token)))) throw notGood();
  }
}

const notGood = (): MatrixError =>
  new MatrixError('M_FORBIDDEN', 'This login token is not valid, or not any more: ask for a new one.');
