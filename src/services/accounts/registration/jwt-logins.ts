import { createPublicKey, createSecretKey, type KeyObject } from 'node:crypto';
import type { Clock } from '#src/kernel/clock.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '#src/protocol/json/json-value.ts';
import { nameOfNewAccount } from '#src/services/accounts/users/usernames.ts';
import type { Account, UserService } from '#src/services/accounts/users/user-service.ts';
import { userDeactivated } from '#src/services/accounts/users/account-errors.ts';
import type { RegistrationService } from './registration-service.ts';

/** `jwt.*` of the configuration. */
export interface JwtOptions {
  readonly algorithm: string;
  /** The secret of HS algorithms, else a public key or certificate in PEM. */
  readonly key: string;
  /** The claim that names the user, by localpart or user id. */
  readonly subjectClaim: string;
  /** The claim with the display name of new users; null: they get none. */
  readonly displayNameClaim: string | null;
  readonly issuer: string | null;
  /** One of them must be meant. */
  readonly audiences: readonly string[];
}

export interface JwtLoginsDependencies {
  readonly users: UserService;
  readonly registration: RegistrationService;
  readonly clock: Clock;
  readonly serverName: string;
  readonly options: JwtOptions;
}

export const MAX_TOKEN_LENGTH = 8_192;

const refused = (why: string): MatrixError => new MatrixError('M_FORBIDDEN', `This token is not valid: ${why}.`);

/** The key by which tokens are checked. @throws Error for a text that is none */
const jwtKeyOf = ({ algorithm, key }: Pick<JwtOptions, 'algorithm' | 'key'>): KeyObject =>
  algorithm.startsWith('HS') ? createSecretKey(key, 'utf8') : createPublicKey(key);

/** `org.matrix.login.jwt`: users log in by a JSON Web Token of an issuer that the operator trusts. New users get an account. */
export class JwtLogins {
  readonly type = 'org.matrix.login.jwt';
  readonly #deps: JwtLoginsDependencies;
  readonly #key: KeyObject;

  constructor(deps: JwtLoginsDependencies) {
    this.#deps = deps;
    this.#key = jwtKeyOf(deps.options);
  }

  /** The user of a token. @throws MatrixError M_FORBIDDEN, M_USER_DEACTIVATED, M_EXCLUSIVE */
  async redeem(token: string): Promise<{ readonly userId: string; readonly locked: boolean }> {
    const { options, registration, serverName, users } = this.#deps;
    const claims = await this.#claimsOf(token);
    this.#check(claims);
    const subject = claims[options.subjectClaim];
    if (typeof subject !== 'string' || subject === '') throw refused(`it has no claim ${options.subjectClaim}`);
    const wanted = nameOf(subject, serverName);
    const displayName = options.displayNameClaim === null ? undefined : claims[options.displayNameClaim];
    const account =
      (await users.account(wanted)) ??
      (await registration.registerProved(wanted, typeof displayName === 'string' ? displayName : undefined));
    assertUsable(account);
    return account;
  }

  /** The claims of a token whose signature is right. jose is loaded with the first one. */
  async #claimsOf(token: string): Promise<JsonObject> {
    if (token.length > MAX_TOKEN_LENGTH) throw refused('it is too long');
    const { compactVerify } = await import('jose');
    let payload: Uint8Array;
    try {
      ({ payload } = await compactVerify(token, this.#key, { algorithms: [this.#deps.options.algorithm] }));
    } catch {
      throw refused('it is no token, or not signed with the right key');
    }
    const claims = parsed(payload);
    if (!isJsonObject(claims)) throw refused('it holds no claims');
    return claims;
  }

  /** RFC 7519, 4.1. What is said must hold; what is configured must be said. */
  #check({ aud, exp, iss, nbf }: JsonObject): void {
    const { clock, options } = this.#deps;
    const now = clock.now() / 1000;
    if (exp !== undefined && (typeof exp !== 'number' || exp <= now)) throw refused('it has expired');
    if (nbf !== undefined && (typeof nbf !== 'number' || nbf > now)) throw refused('its time has not come');
    if (options.issuer !== null && iss !== options.issuer) throw refused('it is of another issuer');
    const audiences = aud === undefined ? [] : Array.isArray(aud) ? aud : [aud];
    const isMeant = audiences.some((audience) => typeof audience === 'string' && options.audiences.includes(audience));
    if ((aud !== undefined || options.audiences.length > 0) && !isMeant)
      throw refused('it is meant for another audience');
  }
}

const parsed = (payload: Uint8Array): JsonValue | undefined => {
  try {
    return JSON.parse(Buffer.from(payload).toString('utf8')) as JsonValue;
  } catch {
    return undefined;
  }
};

const nameOf = (subject: string, serverName: string): string => {
  try {
    return nameOfNewAccount(subject, serverName).userId;
  } catch {
    throw refused('it names no user that this server could have');
  }
};

const assertUsable = ({ deactivated }: Pick<Account, 'deactivated'>): void => {
  if (deactivated) throw userDeactivated();
};
