import type { Clock } from '#src/kernel/clock.ts';
import type { Random } from '#src/kernel/random.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isOpaqueId } from '#src/protocol/identifiers/identifiers.ts';
import { type AuthData, type Stage, StageFailed } from '#src/services/accounts/uia/stages.ts';
import type { Database, Tx } from '#src/storage/database.ts';
import {
  consumeRegistrationToken,
  deleteRegistrationToken,
  findRegistrationToken,
  insertRegistrationToken,
  isValidRegistrationToken,
  listRegistrationTokens,
  type RegistrationTokenRecord,
  updateRegistrationToken,
} from '#src/storage/accounts/registration-tokens.ts';

/** A token with which accounts may be registered. */
export type RegistrationToken = RegistrationTokenRecord;

/** For how many accounts a token is good, and until when, in milliseconds since the epoch; null for no bound. */
export interface TokenBounds {
  readonly usesAllowed?: number | null | undefined;
  readonly expiryTs?: number | null | undefined;
}

const MAX_LENGTH = 64;
const MOST_USES = 1_000_000_000;

/** Tokens with which users may register. Client-Server API, "Token-authenticated registration". */
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
   * @param options without `token` one is made up; without `usesAllowed` it is good for any number of accounts, without `expiryTs` for ever
   * @throws MatrixError M_INVALID_PARAM for a token that exists or breaks the grammar of opaque identifiers, and for bounds that are none
   */
  async create({
    token,
    ...bounds
  }: TokenBounds & { readonly token?: string | undefined } = {}): Promise<RegistrationToken> {
    if (token !== undefined && !isOpaqueId(token, MAX_LENGTH)) {
      throw new MatrixError(
        'M_INVALID_PARAM',
        `A registration token has 1 to ${MAX_LENGTH} of the characters A-Z a-z 0-9 . _ ~ -`,
      );
    }
    this.#check(bounds);
    const record: RegistrationToken = {
      token: token ?? this.#random.string(16),
      usesAllowed: bounds.usesAllowed ?? null,
      completed: 0,
      expiryTs: bounds.expiryTs ?? null,
      createdTs: this.#clock.now(),
    };
    if (await this.#database.write((tx) => insertRegistrationToken(tx, record))) return record;
    throw new MatrixError('M_INVALID_PARAM', 'There is such a registration token already.');
  }

  /** @throws MatrixError M_NOT_FOUND */
  async get(token: string): Promise<RegistrationToken> {
    const found = isOpaqueId(token) ? await this.#database.read((tx) => findRegistrationToken(tx, token)) : undefined;
    return found ?? this.#missing();
  }

  /** Changes the bounds that are named; null takes one away. @throws MatrixError M_NOT_FOUND, M_INVALID_PARAM */
  async change(token: string, bounds: TokenBounds): Promise<RegistrationToken> {
    this.#check(bounds);
    const found = isOpaqueId(token)
      ? await this.#database.write((tx) => updateRegistrationToken(tx, token, bounds))
      : undefined;
    return found ?? this.#missing();
  }

  #check({ expiryTs, usesAllowed }: TokenBounds): void {
    if (typeof usesAllowed === 'number' && (usesAllowed < 0 || usesAllowed > MOST_USES))
      throw new MatrixError('M_INVALID_PARAM', `A registration token is good for 0 to ${MOST_USES} accounts.`);
    if (typeof expiryTs === 'number' && (expiryTs <= this.#clock.now() || !Number.isSafeInteger(expiryTs)))
      throw new MatrixError('M_INVALID_PARAM', 'A registration token must expire in the future.');
  }

  #missing(): never {
    throw new MatrixError('M_NOT_FOUND', 'There is no such registration token.');
  }

  list(): Promise<RegistrationToken[]> {
    return this.#database.read((tx) => listRegistrationTokens(tx));
  }

  /** @throws MatrixError M_NOT_FOUND */
  async delete(token: string): Promise<void> {
    if (isOpaqueId(token) && (await this.#database.write((tx) => deleteRegistrationToken(tx, token)))) return;
    this.#missing();
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
