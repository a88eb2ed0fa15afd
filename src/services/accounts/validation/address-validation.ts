import { sendValidation } from '#src/jobs/definitions.ts';
import type { Clock } from '#src/kernel/clock.ts';
import { acceptedLanguage, type Language } from '#src/kernel/text/language.ts';
import { networkOf } from '#src/kernel/network.ts';
import type { Random } from '#src/kernel/random.ts';
import type { RateLimiter } from '#src/kernel/limits/rate-limiter.ts';
import { limitExceeded } from '#src/protocol/errors/limit-exceeded.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { ThirdPartyId } from '#src/protocol/identifiers/third-party-id.ts';
import { ownerOfAddress } from '#src/storage/accounts/account-threepids.ts';
import {
  askForValidation,
  confirmValidation,
  consumeValidation,
  countWrongToken,
  findValidation,
  validatedSession,
  type ValidationRecord,
} from '#src/storage/accounts/threepid-validations.ts';
import type { Database, Tx } from '#src/storage/database.ts';
import { hashOfSecret, isOpaqueSecret } from '#src/protocol/identifiers/opaque-secret.ts';
import { DAY_MS } from '#src/kernel/dates.ts';
import { isDisposable } from './disposable-mail.ts';
import type { AddressRules } from './address-rules.ts';
import type { LinkTokens } from './link-tokens.ts';
import type { NextLink, NextLinks } from './next-links.ts';

/** What an address is validated for. A session is good for that alone: an address that was confirmed for a new account resets no password. */
export type ValidationPurpose = 'register' | 'add' | 'reset';

/** Body of the `requestToken` endpoints for mail, and who sends it. */
export interface TokenRequest {
  readonly email: string;
  readonly clientSecret: string;
  readonly sendAttempt: number;
  readonly nextLink?: string | undefined;
  /** What the client says of the languages that its user reads. */
  readonly acceptLanguage?: string | undefined;
  /** Where it comes from. */
  readonly ip: string;
  /** The user who is logged in; undefined for requests without an access token. */
  readonly userId?: string | undefined;
}

/** An address that a user has proved to be theirs. */
export interface ValidatedAddress {
  readonly sid: string;
  readonly id: ThirdPartyId;
  /** Milliseconds since the epoch. */
  readonly validatedTs: number;
}

/** With what a client shows that it began a session. */
export interface ThreepidCredentials {
  readonly sid: string;
  readonly clientSecret: string;
}

export interface AddressValidationOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly random: Random;
  readonly rateLimiter: RateLimiter;
  readonly rules: AddressRules;
  readonly nextLinks: NextLinks;
  readonly linkTokens: LinkTokens;
  /** The language of mails to users whose client does not name one. */
  readonly language: Language;
  /** Whether this server sends mail at all. */
  readonly isEnabled: boolean;
  /** `email.token_lifetime_ms` */
  readonly lifetimeMs: number;
  /** `email.max_wrong_tokens` */
  readonly maxWrongTokens: number;
  /** `registration.refuse_disposable_mail` */
  readonly refusesDisposable: boolean;
  /** `email.hide_accounts` */
  readonly hidesAccounts: boolean;
}

const REQUESTS = 'mail_request';
const MAILS = 'mail_address';
const TOKEN_PURPOSE = 'validation';
/** Milliseconds for which an address counts as validated. */
const VALIDATED_MS = DAY_MS;

/**
 * Validates mail addresses: whether they belong to the users who name them. Client-Server API, `POST .../email/requestToken`; Identity Service API,
 * "Establishing associations".
 */
export class AddressValidation {
  readonly #options: AddressValidationOptions;

  constructor(options: AddressValidationOptions) {
    this.#options = options;
  }

  /** Whether addresses can be validated. */
  get isEnabled(): boolean {
    return this.#options.isEnabled;
  }

  /**
   * Begins a session, or resumes the one of the same address and secret, and has a mail sent where `send_attempt` is greater than
   * before. Where accounts are hidden, all addresses are treated alike here: what the mail says, or whether there is one, is decided when
   * it is sent.
   *
   * @returns the session id
   * @throws MatrixError M_INVALID_PARAM, M_THREEPID_DENIED, M_THREEPID_MEDIUM_NOT_SUPPORTED, M_LIMIT_EXCEEDED; where accounts are not
   *   hidden M_THREEPID_IN_USE, or M_THREEPID_NOT_FOUND for a password reset
   */
  async request(purpose: ValidationPurpose, asked: TokenRequest): Promise<string> {
    const { clock, database, hidesAccounts, isEnabled, lifetimeMs, nextLinks, random, rules } = this.#options;
    if (!isEnabled) throw new MatrixError('M_THREEPID_MEDIUM_NOT_SUPPORTED', 'This server sends no mail.');
    const { clientSecret, sendAttempt } = asked;
    if (!isOpaqueSecret(clientSecret))
      throw new MatrixError('M_INVALID_PARAM', 'client_secret has 1 to 255 of the characters 0-9 a-z A-Z . = _ -');
    const nextLink = nextLinks.check(asked.nextLink);
    const id = rules.check(asked.email);
    if (purpose === 'register' && this.#options.refusesDisposable && (await isDisposable(id.address)))
      throw new MatrixError(
        'M_THREEPID_DENIED',
        'This server does not take addresses that are good for a few minutes.',
      );
    this.#take(REQUESTS, asked.userId ?? networkOf(asked.ip));
    if (!hidesAccounts) await this.#assertFits(purpose, id, asked.userId);
    const now = clock.now();
    return database.write(async (tx) => {
      const { sid, isNewAttempt } = await askForValidation(tx, {
        ...id,
        sid: random.string(32),
        purpose,
        secretHash: hashOfSecret(clientSecret),
        sendAttempt,
        nextLink,
        language: acceptedLanguage(asked.acceptLanguage) ?? this.#options.language,
        now,
        expiresTs: now + lifetimeMs,
      });
      if (!isNewAttempt) return sid;
      this.#take(MAILS, id.address);
      await tx.enqueue(sendValidation, { sid, attempt: sendAttempt });
      return sid;
    });
  }

  /**
   * As `request`, for the fallback page of a stage. The secret is that of the session of
   * user-interactive authentication.
   */
  requestOnPage(
    purpose: ValidationPurpose,
    uiaSession: string,
    asked: Pick<TokenRequest, 'email' | 'acceptLanguage' | 'ip'>,
  ): Promise<string> {
    const sendAttempt = this.#options.clock.now();
    return this.request(purpose, { ...asked, clientSecret: this.secretOf(uiaSession), sendAttempt });
  }

  /** With what the page of a stage shows that it asked for the mail. */
  secretOf(uiaSession: string): string {
    return this.#options.linkTokens.of('page of a stage', uiaSession);
  }

  async #assertFits(purpose: ValidationPurpose, id: ThirdPartyId, userId: string | undefined): Promise<void> {
    const owner = await ownerOfAddress(this.#options.database, id);
    if (purpose === 'reset' && owner === undefined)
      throw new MatrixError('M_THREEPID_NOT_FOUND', 'No account of this server has that address.');
    if (purpose !== 'reset' && owner !== undefined && owner !== userId)
      throw new MatrixError('M_THREEPID_IN_USE', 'The address belongs to an account already.');
  }

  #take(bucket: string, key: string): void {
    const verdict = this.#options.rateLimiter.take(bucket, key);
    if (!verdict.ok) throw limitExceeded(bucket, verdict.retryAfterMs);
  }

  /** The token in the mail of a session. */
  tokenOf(sid: string): string {
    return this.#options.linkTokens.of(TOKEN_PURPOSE, sid);
  }

  /** A session that can be confirmed, or has been; undefined when it has expired. */
  async find(sid: string): Promise<ValidationRecord | undefined> {
    const { clock, database } = this.#options;
    const session = await findValidation(database, sid);
    return session !== undefined && session.expiresTs > clock.now() ? session : undefined;
  }

  /**
   * What the link of a mail is about. It changes nothing: programs that look at mails follow links.
   *
   * @throws MatrixError M_SESSION_EXPIRED, M_TOKEN_INCORRECT
   */
  async look(sid: string, token: string): Promise<ValidationRecord> {
    const { database, linkTokens, maxWrongTokens } = this.#options;
    const session = await this.find(sid);
    if (session === undefined || session.wrongTokens >= maxWrongTokens)
      throw new MatrixError('M_SESSION_EXPIRED', 'This link has expired: ask for a new one.');
    if (linkTokens.matches(token, TOKEN_PURPOSE, sid)) return session;
    await countWrongToken(database, sid);
    throw new MatrixError('M_TOKEN_INCORRECT', 'This link is not complete: copy all of it out of the mail.');
  }

  /** Notes that the holder of the token has the address. Again is fine. @throws MatrixError as `look` */
  async confirm(sid: string, token: string): Promise<ValidationRecord> {
    const { clock, database } = this.#options;
    const session = await this.look(sid, token);
    const now = clock.now();
    if (!(await confirmValidation(database, sid, now, now + VALIDATED_MS)))
      throw new MatrixError('M_SESSION_EXPIRED', 'This link has expired: ask for a new one.');
    return session;
  }

  /** Where the browser is sent after the confirmation. */
  nextLinkOf({ nextLink }: ValidationRecord): NextLink | undefined {
    return this.#options.nextLinks.read(nextLink);
  }

  /** The address that the client has had validated for this; undefined when it has not. */
  async validated(
    purpose: ValidationPurpose,
    { sid, clientSecret }: ThreepidCredentials,
  ): Promise<ValidatedAddress | undefined> {
    const { clock, database } = this.#options;
    if (sid.includes('\0') || !isOpaqueSecret(clientSecret)) return undefined;
    const session = await validatedSession(database, sid, hashOfSecret(clientSecret), purpose, clock.now());
    return session === undefined ? undefined : addressOf(session);
  }

  /**
   * Uses a validated session up, in the transaction that does what it was for.
   *
   * @throws MatrixError M_THREEPID_AUTH_FAILED when it has expired or been used meanwhile
   */
  async consume(tx: Tx, purpose: ValidationPurpose, sid: string): Promise<ValidatedAddress> {
    const session = await consumeValidation(tx, sid, purpose, this.#options.clock.now());
    if (session === undefined) throw notValidated();
    return addressOf(session);
  }

  /** The address that a session is about; undefined when it has expired. */
  async addressOf(sid: string): Promise<ThirdPartyId | undefined> {
    const session = await findValidation(this.#options.database, sid);
    return session === undefined ? undefined : addressOf(session).id;
  }
}

/** The answer to a request without a validated address. */
export const notValidated = (): MatrixError =>
  new MatrixError(
    'M_THREEPID_AUTH_FAILED',
    'The address has not been validated: follow the link in the mail first, or ask for a new one.',
  );

const addressOf = ({ sid, address, validatedTs }: ValidationRecord): ValidatedAddress => ({
  sid,
  id: { medium: 'email', address },
  validatedTs: validatedTs ?? 0,
});
