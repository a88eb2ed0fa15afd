import type { Clock } from '#src/kernel/clock.ts';
import type { Random } from '#src/kernel/random.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { quotaFull } from '#src/protocol/errors/quota-full.ts';
import { isOpaqueId } from '#src/protocol/identifiers/identifiers.ts';
import type { Actor } from '#src/services/audit/actor.ts';
import type { AuditLog } from '#src/services/audit/audit-log.ts';
import { type AuthData, type Stage, StageFailed } from '#src/services/accounts/uia/stages.ts';
import type { Database, Tx } from '#src/storage/database.ts';
import {
  consumeRegistrationToken,
  countRegistrationTokens,
  deleteRegistrationToken,
  findRegistrationToken,
  insertRegistrationToken,
  isValidRegistrationToken,
  listRegistrationTokens,
  lockRegistrationToken,
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

export const MAX_LENGTH = 64;
/** Characters of a token that is made up, if nothing else is asked for. */
const USUAL_LENGTH = 16;
/** Tokens that there may be. */
export const MAX_TOKENS = 10_000;
const MAX_USES = 1_000_000_000;

/** Tokens with which users may register. Client-Server API, "Token-authenticated registration". */
export class RegistrationTokens {
  readonly #database: Database;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #auditLog: AuditLog;

  constructor(deps: {
    readonly database: Database;
    readonly clock: Clock;
    readonly random: Random;
    readonly auditLog: AuditLog;
  }) {
    this.#database = deps.database;
    this.#clock = deps.clock;
    this.#random = deps.random;
    this.#auditLog = deps.auditLog;
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
   * @param params without `token` one of `length` characters is made up; without `usesAllowed` it is good for any number of accounts, without
   *   `expiryTs` for ever
   * @throws MatrixError M_INVALID_PARAM for a token that exists or breaks the grammar of opaque identifiers, and for bounds that are none;
   *   M_RESOURCE_LIMIT_EXCEEDED when there are very many already
   */
  async create(
    actor: Actor,
    {
      length = USUAL_LENGTH,
      token,
      ...bounds
    }: TokenBounds & { readonly token?: string | undefined; readonly length?: number | undefined } = {},
  ): Promise<RegistrationToken> {
    if (token !== undefined && !isOpaqueId(token, MAX_LENGTH)) {
      throw new MatrixError(
        'M_INVALID_PARAM',
        `A registration token has 1 to ${MAX_LENGTH} of the characters A-Z a-z 0-9 . _ ~ -`,
      );
    }
    if (length < 1 || length > MAX_LENGTH)
      throw new MatrixError('M_INVALID_PARAM', `A registration token has 1 to ${MAX_LENGTH} characters.`);
    this.#check(bounds);
    const record: RegistrationToken = {
      token: token ?? this.#random.string(length),
      usesAllowed: bounds.usesAllowed ?? null,
      completed: 0,
      expiryTs: bounds.expiryTs ?? null,
      createdTs: this.#clock.now(),
    };
    await this.#database.write(async (tx) => {
      if ((await countRegistrationTokens(tx)) >= MAX_TOKENS)
        throw quotaFull('registration_tokens', `There are ${MAX_TOKENS} registration tokens: delete some.`);
      if (!(await insertRegistrationToken(tx, record)))
        throw new MatrixError('M_INVALID_PARAM', 'There is such a registration token already.');
      await this.#auditLog.record(tx, actor, {
        action: 'registration_token.create',
        target: record.token,
        after: boundsOf(record),
      });
    });
    return record;
  }

  /** @throws MatrixError M_NOT_FOUND */
  async get(token: string): Promise<RegistrationToken> {
    const found = isOpaqueId(token) ? await this.#database.read((tx) => findRegistrationToken(tx, token)) : undefined;
    return found ?? this.#missing();
  }

  /** Changes the bounds that are named; null takes one away. @throws MatrixError M_NOT_FOUND, M_INVALID_PARAM */
  async change(actor: Actor, token: string, bounds: TokenBounds): Promise<RegistrationToken> {
    this.#check(bounds);
    return this.#database.write(async (tx) => {
      const before = isOpaqueId(token) ? await lockRegistrationToken(tx, token) : undefined;
      const after = before && (await updateRegistrationToken(tx, token, bounds));
      if (before === undefined || after === undefined) return this.#missing();
      await this.#auditLog.record(tx, actor, {
        action: 'registration_token.change',
        target: token,
        before: boundsOf(before),
        after: boundsOf(after),
      });
      return after;
    });
  }

  #check({ expiryTs, usesAllowed }: TokenBounds): void {
    if (typeof usesAllowed === 'number' && (usesAllowed < 0 || usesAllowed > MAX_USES))
      throw new MatrixError('M_INVALID_PARAM', `A registration token is good for 0 to ${MAX_USES} accounts.`);
    if (typeof expiryTs === 'number' && (expiryTs <= this.#clock.now() || !Number.isSafeInteger(expiryTs)))
      throw new MatrixError('M_INVALID_PARAM', 'A registration token must expire in the future.');
  }

  #missing(): never {
    throw new MatrixError('M_NOT_FOUND', 'There is no such registration token.');
  }

  /** The oldest first. @param isValid only those that are good now, or only those that are not */
  async list(isValid?: boolean): Promise<RegistrationToken[]> {
    const now = this.#clock.now();
    const isGood = ({ completed, expiryTs, usesAllowed }: RegistrationToken): boolean =>
      (expiryTs === null || expiryTs > now) && (usesAllowed === null || completed < usesAllowed);
    const all = await this.#database.read((tx) => listRegistrationTokens(tx));
    return isValid === undefined ? all : all.filter((token) => isGood(token) === isValid);
  }

  /** @throws MatrixError M_NOT_FOUND */
  async delete(actor: Actor, token: string): Promise<void> {
    await this.#database.write(async (tx) => {
      const before = isOpaqueId(token) ? await lockRegistrationToken(tx, token) : undefined;
      if (before === undefined || !(await deleteRegistrationToken(tx, token))) return this.#missing();
      await this.#auditLog.record(tx, actor, {
        action: 'registration_token.delete',
        target: token,
        before: { ...boundsOf(before), completed: before.completed },
      });
    });
  }
}

/** A token's bounds, for the audit log. */
const boundsOf = ({ expiryTs, usesAllowed }: RegistrationToken) => ({
  uses_allowed: usesAllowed,
  expiry_time: expiryTs,
});

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
