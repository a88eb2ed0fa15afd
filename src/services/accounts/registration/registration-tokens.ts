import type { Clock } from '#src/kernel/clock.ts';
import type { Random } from '#src/kernel/random.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isOpaqueId } from '#src/protocol/identifiers/identifiers.ts';
import { type AuthData, type Stage, StageFailed } from '#src/services/accounts/uia/stages.ts';
import type { Database, Tx } from '#src/storage/database.ts';
import {
  consumeRegistrationToken,
  deleteRegistrationToken,
  insertRegistrationToken,
  isValidRegistrationToken,
  listRegistrationTokens,
  type RegistrationTokenRecord,
} from '#src/storage/accounts/registration-tokens.ts';

/** A token with which accounts may be registered. */
export type RegistrationToken = RegistrationTokenRecord;

const MAX_LENGTH = 64;

/** Tokens that let somebody register. Client-Server API, "Token-authenticated registration". */
export class RegistrationTokens {
  readonly #database: Database;
  readonly #clock: Clock;
  readonly #random: Random;

  constructor(deps: { readonly database: Database; readonly clock: Clock; readonly random: Random }) {
    this.#database = deps.database;
    this.#clock = deps.clock;
    this.#random = deps.random;
  }

  /** Whether an account could be registered with the token now. */
  async isValid(token: string): Promise<boolean> {
    return isOpaqueId(token, MAX_LENGTH) && isValidRegistrationToken(this.#database, token, this.#clock.now());
  }

  /** Counts one use within the transaction that makes the account. @throws MatrixError M_FORBIDDEN when it is used up by now */
  async consume(tx: Tx, token: string): Promise<void> {
    if (await consumeRegistrationToken(tx, token, this.#clock.now())) return;
    throw new MatrixError('M_FORBIDDEN', 'The registration token has expired or been used up in the meantime.');
  }

  /**
   * Makes a token.
   *
   * @param options without `token` one is made up; without `usesAllowed` it is good for any number of accounts
   * @throws MatrixError M_INVALID_PARAM for a token that exists or breaks the grammar of opaque identifiers
   */
  async create(
    options: { readonly token?: string; readonly usesAllowed?: number | null; readonly expiryTs?: number | null } = {},
  ): Promise<RegistrationToken> {
    const token = options.token ?? this.#random.string(16);
    if (!isOpaqueId(token, MAX_LENGTH)) {
      throw new MatrixError(
        'M_INVALID_PARAM',
        `A registration token has 1 to ${MAX_LENGTH} of the characters A-Z a-z 0-9 . _ ~ -`,
      );
    }
    const record: RegistrationToken = {
      token,
      usesAllowed: options.usesAllowed ?? null,
      completed: 0,
      expiryTs: options.expiryTs ?? null,
      createdTs: this.#clock.now(),
    };
    if (await this.#database.write((tx) => insertRegistrationToken(tx, record))) return record;
    throw new MatrixError('M_INVALID_PARAM', 'There is such a registration token already.');
  }

  list(): Promise<RegistrationToken[]> {
    return this.#database.read((tx) => listRegistrationTokens(tx));
  }

  /** @throws MatrixError M_NOT_FOUND */
  async delete(token: string): Promise<void> {
    if (isOpaqueId(token) && (await this.#database.write((tx) => deleteRegistrationToken(tx, token)))) return;
    throw new MatrixError('M_NOT_FOUND', 'There is no such registration token.');
  }
}

/** `m.login.registration_token`: proves knowledge of a token. It is used up only when the account is made. */
export class RegistrationTokenStage implements Stage {
  readonly type = 'm.login.registration_token';
  readonly #tokens: RegistrationTokens;

  constructor(tokens: RegistrationTokens) {
    this.#tokens = tokens;
  }

  async attempt(auth: AuthData): Promise<string> {
    const token = auth['token'];
    if (typeof token !== 'string') throw new StageFailed('M_MISSING_PARAM', 'The member token of auth is missing.');
    if (await this.#tokens.isValid(token)) return token;
    throw new StageFailed('M_UNAUTHORIZED', 'The registration token is not valid.');
  }
}
